"""``python -m poptrain``: the command line."""

import sys

from poptrain.cli import main

if __name__ == "__main__":
    sys.exit(main())
