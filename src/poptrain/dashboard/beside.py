"""The dashboard of a run that is being trained, in a process of its own, so that training does not wait for it."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from poptrain.core.errors import MissingExtra, UsageError

_open: dict[Path, subprocess.Popen[str]] = {}  # by run directory


def beside(directory: str | Path | None) -> str | None:
    """Starts a dashboard that ends with this process, and returns its address; None if the directory has one already.

    Raises:
        UsageError: there is no directory, or the dashboard did not start.
        MissingExtra: Starlette or uvicorn is not installed.
    """
    if directory is None:
        raise UsageError("dashboard=True needs a directory=…, because the dashboard reads the log of the run.")
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise MissingExtra("the dashboard needs Starlette and uvicorn: pip install 'poptrain[dashboard]'")
    path = Path(directory).resolve()
    if path in _open and _open[path].poll() is None:
        return None
    words = [sys.executable, "-m", "poptrain", "dashboard", str(path), "--with-parent", "--no-open"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(words, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]
    line = process.stdout.readline()
    if not line.startswith("dashboard: "):
        raise UsageError(f"the dashboard did not start: {(line + process.communicate()[1]).strip()}")
    _open[path] = process
    return str(line.removeprefix("dashboard: ").strip())
