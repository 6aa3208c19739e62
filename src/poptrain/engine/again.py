"""The line that continues a run: what a person does after an interruption."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from poptrain.core import Json
from poptrain.core.commands import poptrain, runnable
from poptrain.core.interactive import interactive
from poptrain.core.secrets import redacted
from poptrain.engine.experiment import seen_from
from poptrain.log.reader import Record


def again(record: Record, directory: str | Path | None) -> str:
    """Returns how an interrupted run is continued."""
    if interactive():
        return "make the same call again to continue"
    if directory is None:
        return "nothing was kept, because no directory was given"
    if record.file is not None:
        return f"continue with: {poptrain('resume', directory)}"
    return continued()


def continued() -> str:
    """Returns how a call of this process is made once more."""
    if interactive():
        return "make the same call again to continue"
    if sys.argv and Path(sys.argv[0]).suffix == ".py":
        return f"continue with the same command: {runnable(command())}"
    return "the same call continues it"


def command() -> str:
    """Returns the command line of this process."""
    return shlex.join(_words())


def _words() -> list[str]:
    """Returns the words of the command line; in a worker of a study, those of the script."""
    return ["python", *sys.argv] if multiprocessing.parent_process() is not None else ["python", *sys.orig_argv[1:]]


def started_by(directory: str | Path) -> dict[str, Json] | None:
    """Returns the log's entry about the script that called `run`: its command without secrets, and the folder of that call.

    Args:
        directory: of the run; the folder is relative to it.
    """
    if interactive() or not sys.argv or Path(sys.argv[0]).suffix != ".py":
        return None
    return {"line": shlex.join(redacted(_words())), "folder": seen_from(directory, Path.cwd())}


def started_with(record: Record, directory: str | Path) -> str | None:
    """Returns how the script that began a run is run once more, as a shell takes it; None: not known."""
    found = record.run.get("command")
    if not isinstance(found, Mapping) or not isinstance(found.get("line"), str) or not isinstance(found.get("folder"), str):
        return None
    folder = os.path.normpath(Path(directory).resolve() / str(found["folder"]))
    line = str(found["line"])  # the Python of this process may be named otherwise there
    return runnable(line) if Path(folder) == Path.cwd() else f"cd {shlex.quote(folder)} && {runnable(line, elsewhere=True)}"
