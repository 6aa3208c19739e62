"""What the Ray benchmarks train: `quadratic` with a pause, and with faults that happen once. Workers import it from this file."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import poptrain as pt
from poptrain.checkpoints.store import DiskStore
from poptrain.testing import quadratic

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 0.3, init=(1e-3, 0.05)))
ABOVE = 0.1  # members with a larger lr fail, where that is wanted


def algorithm(population: int = 4, initial=()):
    """Returns a synchronous PBT with an interval of 3 steps."""
    return pt.pbt(SPACE, population=population, interval=3, exploit=pt.truncation(0.4), initial=initial)


@dataclass(frozen=True)
class Slow:
    """`quadratic` that takes `seconds` for each task; `gain` scales the score, so that two versions differ in it."""

    seconds: float
    gain: float = 1.0

    def __call__(self, carry, hp, steps, seed):
        time.sleep(self.seconds)
        carry, metrics = quadratic(carry, hp, steps, seed)
        return carry, {**metrics, "score": self.gain * metrics["score"]}


@dataclass(frozen=True)
class Hungry:
    """`quadratic`; the first task of all takes `gigabytes` of memory and holds it until it is killed."""

    once: str
    gigabytes: float

    def __call__(self, carry, hp, steps, seed):
        if first(self.once):
            blocks = []
            until = time.monotonic() + 30.0
            while time.monotonic() < until:
                if len(blocks) < 8 * self.gigabytes:
                    blocks.append(np.ones(1 << 24))  # 128 MiB, touched
                else:
                    time.sleep(0.1)
        return quadratic(carry, hp, steps, seed)


class KillingStore(DiskStore):
    """A store whose process is killed once, right after a commit: the task is done, but its result is lost."""

    def commit(self, name, carry, **about):
        ref = super().commit(name, carry, **about)
        if first(self.root / ".once"):
            os.kill(os.getpid(), signal.SIGKILL)
        return ref


def failing(carry, hp, steps, seed):
    """`quadratic` that raises for an lr above the limit."""
    if hp["lr"] > ABOVE:
        raise ValueError("a planted fault")
    return quadratic(carry, hp, steps, seed)


def first(path) -> bool:
    """True for the first caller only, whatever process it is in."""
    try:
        Path(path).open("x").close()
    except FileExistsError:
        return False
    return True
