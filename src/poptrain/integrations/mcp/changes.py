"""The tools that change runs: suspend, resume, extend. They exist only if the server was started with ``--allow-changes``."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from poptrain import views
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.integrations.mcp import parameters
from poptrain.integrations.mcp.runs import Runs
from poptrain.views.lock_holder import writer_of

Answer = dict[str, Any]  # JSON
PATIENCE = 3.0  # seconds in which a refused `resume` has ended


def tools(known: Runs) -> list[Callable[..., Answer]]:
    """Returns the tools for some runs."""

    def suspend(run: parameters.Run) -> Answer:
        """Ask the process that trains a run to stop at a safe point. Nothing is lost; `resume` continues it."""
        writer = writer_of(known.record(run))
        if writer is None:
            raise UsageError(f"no process trains {run!r} now; its state is {views.status(known.record(run)).state}.")
        if writer.host != platform.node():
            raise UsageError(f"{run!r} is trained on the host {writer.host}, and only processes of this host can be suspended.")
        os.kill(writer.pid, signal.SIGTERM)
        return {"run": run, "asked": writer.pid, "next": "call `status` until the state is suspended"}

    def resume(run: parameters.Run) -> Answer:
        """Continue a suspended or interrupted run in a process of its own; it executes the experiment file of the run."""
        return _started(known, run, [])

    def extend(run: parameters.Run, steps: parameters.Steps) -> Answer:
        """Continue a run up to a larger number of steps per member."""
        budget = known.record(run).budget
        if budget is not None and steps <= budget:
            raise UsageError(f"steps={steps}: the run has a budget of {counted(budget, 'step')} per member already; pass more.")
        return _started(known, run, ["--steps", str(steps)])

    return [suspend, resume, extend]


def _started(known: Runs, run: str, options: list[str]) -> Answer:
    """Starts ``poptrain resume`` and returns when it trains, or raises its message if it refused."""
    path: Path = known.path(run)
    words = [sys.executable, "-m", "poptrain", "resume", str(path), "--quiet", *options]
    with tempfile.TemporaryFile() as said:
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": said}
        process = subprocess.Popen(words, start_new_session=True, **quiet)  # type: ignore[call-overload]
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return {"run": run, "started": process.pid, "next": "call `status` to follow it"}
        said.seek(0)
        text = said.read().decode(errors="replace").strip()
    if code:
        raise UsageError(text.removeprefix("error: ") or f"poptrain resume ended with {code}.")
    return {"run": run, "ended": True, "said": text, "next": "call `status`: the run has ended already"}
