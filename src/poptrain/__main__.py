"""``python -m poptrain``, and the command `poptrain`: the command line, which is loaded under guard of Ctrl-C."""

import sys


def main() -> int:
    """Runs the command line and returns its exit code. An interrupt during the imports, which take a second, prints one word."""
    try:
        from poptrain.cli import main as command_line

        return command_line()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
