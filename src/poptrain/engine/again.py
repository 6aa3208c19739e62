"""The line that continues a run: what a person does after an interruption."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from poptrain.core.interactive import interactive
from poptrain.log.reader import Record


def again(record: Record, directory: str | Path | None) -> str:
    """Returns how an interrupted run is continued."""
    if interactive():
        return "make the same call again to continue"
    if directory is None:
        return "nothing was kept, because no directory was given"
    if record.file is not None:
        return f"continue with: poptrain resume {shlex.quote(str(directory))}"
    if sys.argv and Path(sys.argv[0]).suffix == ".py":
        return f"continue with the same command: {command()}"
    return "the same call continues it"


def command() -> str:
    """Returns the command line of this process, as a shell takes it."""
    words = list(sys.orig_argv)
    words[:1] = ["python"]
    return shlex.join(words)
