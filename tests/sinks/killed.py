"""A run with a sink that ends by SIGKILL in the middle of a task: ``python killed.py SINK DIRECTORY TASKS [URI]``.

Its hyperparameters are a rate, an option that is text, one that may be None, and one that only some members have.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import poptrain as pt
from poptrain.testing import quadratic

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), act=pt.Choice("relu", "tanh"), clip=pt.Choice(None, 0.5))
PBT = pt.pbt(SPACE, population=3, interval=5, exploit=pt.truncation(0.34), sync=False)
STEPS = 25
left = {"tasks": 10**9}
written = threading.Event()  # by the sink, in this session


def train(carry, hp, steps, seed):
    left["tasks"] -= 1
    if left["tasks"] < 0:
        written.wait(60)
        os.kill(os.getpid(), signal.SIGKILL)
    return quadratic(carry, {"lr": hp["lr"]}, steps, seed)


def sink_of(name: str, directory: Path, uri: str):
    if name == "mlflow":
        return pt.sinks.MLflow(uri, experiment=directory.name, patience=120)
    return pt.sinks.TensorBoard(directory / "tb")


def watched(write: Callable[..., None]) -> Callable[..., None]:
    """Returns a sink's method that reports when it has written."""

    def reporting(*arguments: object) -> None:
        write(*arguments)
        written.set()

    return reporting


def session(name: str, directory: Path, tasks: int, uri: str = "-") -> int:
    """Returns the exit code of a session that ends by SIGKILL after a number of tasks, if it has more."""
    return subprocess.run([sys.executable, __file__, name, str(directory), str(tasks), uri]).returncode


def sessions(name: str, directory: Path, uri: str = "-") -> Iterator[int]:
    """Kills a run twice and lets it end; yields the exit code after each session."""
    for tasks, code in (4, -signal.SIGKILL), (5, -signal.SIGKILL), (10**9, 0):
        assert session(name, directory, tasks, uri) == code
        yield code


if __name__ == "__main__":
    _, name, directory, tasks, uri = sys.argv
    left["tasks"] = int(tasks)
    sink = sink_of(name, Path(directory), uri)
    sink.every = 0.0  # as much as possible is written before the kill
    sink.write = watched(sink.write)
    where = Path(directory, "run")
    pt.run(PBT, train, stop=pt.steps(STEPS), directory=where, seed=3, sinks=[sink], progress=False)
