"""A run with MLflow that ends by SIGKILL in the middle of a task: ``python killed.py DIRECTORY TASKS URI``.

Its hyperparameters are a rate, an option that is text, one that may be None, and one that only some members have.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import poptrain as pt
from poptrain.testing import quadratic

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), act=pt.Choice("relu", "tanh"), clip=pt.Choice(None, 0.5))
PBT = pt.pbt(SPACE, population=3, interval=5, exploit=pt.truncation(0.34), sync=False)
STEPS = 25
left = {"tasks": 10**9}


def train(carry, hp, steps, seed):
    left["tasks"] -= 1
    if left["tasks"] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.03)  # so that the sinks have written before the kill
    return quadratic(carry, {"lr": hp["lr"]}, steps, seed)


def session(directory: Path, tasks: int, uri: str) -> int:
    """Returns the exit code of a session that ends by SIGKILL after a number of tasks, if it has more."""
    return subprocess.run([sys.executable, __file__, str(directory), str(tasks), uri]).returncode


def sessions(directory: Path, uri: str) -> None:
    """Kills a run twice and lets it end."""
    assert session(directory, 4, uri) == -signal.SIGKILL
    assert session(directory, 5, uri) == -signal.SIGKILL
    assert session(directory, 10**9, uri) == 0


if __name__ == "__main__":
    _, directory, tasks, uri = sys.argv
    left["tasks"] = int(tasks)
    sink = pt.sinks.MLflow(uri, experiment=Path(directory).name, patience=120)
    sink.every = 0.0  # as much as possible is written before the kill
    where = Path(directory, "run")
    pt.run(PBT, train, stop=pt.steps(STEPS), directory=where, seed=3, sinks=[sink], progress=False)
