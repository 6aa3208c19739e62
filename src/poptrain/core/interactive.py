"""Who runs this process: a notebook, a person at a prompt, or a script."""

from __future__ import annotations

import sys


def notebook() -> bool:
    """True in a Jupyter kernel."""
    found = sys.modules.get("IPython")
    shell = None if found is None else found.get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None


def interactive() -> bool:
    """True in a notebook, and at a prompt of Python or IPython: what a call returns is looked at, and the call made again."""
    found = sys.modules.get("IPython")
    return hasattr(sys, "ps1") or (found is not None and found.get_ipython() is not None)
