"""The command line: one verb a file, and every reading verb is log -> view -> print.

Exit codes: 0 done, 1 internal error or, from `check` and `verify`, something is wrong, 2 usage, 3 suspended (resumable),
4 run failed, 5 another process writes the run, 130 and 143 interrupted (resumable). Errors are one line on standard error;
``--debug`` adds the traceback.
"""

from __future__ import annotations

from collections.abc import Sequence

from poptrain.cli.app import app

__all__ = ["app", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code; the arguments are those of the process unless they are passed."""
    code: int = app(args=None if arguments is None else list(arguments), prog_name="poptrain", standalone_mode=False)
    return code
