"""Small deterministic trainables: a quadratic as function and class, some with faults, and a check of a user's trainable.

Worker processes import this module, so it imports little.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poptrain.core import Carry, Hparams, Metrics
from poptrain.core.rng import rng

FAULTY_ABOVE = 0.1  # in the contract of the executors, members with a larger lr have a planted fault


def quadratic(carry: Carry, hp: Mapping[str, float], steps: int, seed: int) -> tuple[Carry, Metrics]:
    """Returns carry and score after gradient ascent on Q(θ) = 1.2 - θ², from θ = 0.9, with a little noise; tunes ``lr``."""
    theta = np.array([0.9]) if carry is None else carry["theta"]
    noise = rng(seed, "quadratic").normal(size=max(steps, 1)) * 1e-4
    for step in range(steps):
        theta = theta - 2 * hp["lr"] * theta + noise[step]
    done = 0 if carry is None else carry["steps"]
    score = float(1.2 - theta[0] ** 2)
    return {"theta": theta, "steps": done + steps}, {"score": score, "theta": float(theta[0])}


class Quadratic:
    """`quadratic` in the form of a class."""

    def __init__(self, hp: Mapping[str, float], seed: int):
        self.theta, self.seed = 0.9, seed

    def train(self, hp: Mapping[str, float], steps: int) -> Metrics:
        for _ in range(steps):
            self.theta -= 2 * hp["lr"] * self.theta
        return {"score": 1.2 - self.theta**2}

    def save(self, directory: Path) -> None:
        (directory / "state.json").write_text(json.dumps({"theta": self.theta}))

    def load(self, directory: Path) -> None:
        self.theta = float(json.loads((directory / "state.json").read_text())["theta"])


@dataclass(frozen=True)
class Faulty:
    """`quadratic` with one planted fault, for members whose ``lr`` is above `above`, after they have trained `after` steps.

    Args:
        fault: "raise", "nan", "inf", "hang" (for `seconds`), "exit" (the process ends), "sys.exit" or "print" (a line of output).
        above: members with a larger ``lr`` have the fault.
        after: steps that a member trains without it.
        seconds: that the fault "hang" takes.
        once: a path; the fault happens only if this file does not exist, and then creates it (a transient fault).
    """

    fault: str
    above: float = 0.0
    after: int = 0
    seconds: float = 3600.0
    once: str | None = None

    def __call__(self, carry: Carry, hp: Mapping[str, float], steps: int, seed: int) -> tuple[Carry, Metrics]:
        carry, metrics = quadratic(carry, hp, steps, seed)
        if hp["lr"] <= self.above or carry["steps"] <= self.after or not self._due():
            return carry, metrics
        if self.fault == "raise":
            raise ValueError("a planted fault")
        if self.fault in ("nan", "inf"):
            return carry, {**metrics, "score": float(self.fault)}
        if self.fault == "hang":
            time.sleep(self.seconds)
        if self.fault == "exit":
            os._exit(7)
        if self.fault == "sys.exit":
            raise SystemExit(3)
        if self.fault == "print":
            print("a line from the member")
        return carry, metrics

    def _due(self) -> bool:
        if self.once is None:
            return True
        try:
            Path(self.once).open("x").close()
        except FileExistsError:
            return False
        return True


@dataclass(frozen=True)
class BadMetrics:
    """`quadratic` with metrics that hold no score, from the first evaluation on.

    Args:
        what: "missing" (the score has another name), "string", "bool", "none" or "array" (the score is not a number).
    """

    what: str

    def __call__(self, carry: Carry, hp: Mapping[str, float], steps: int, seed: int) -> tuple[Carry, Metrics]:
        carry, metrics = quadratic(carry, hp, steps, seed)
        if self.what == "missing":
            return carry, {"sore": metrics["score"]}
        wrong = {"string": "high", "bool": True, "none": None, "array": np.zeros(2)}
        return carry, {"score": wrong[self.what]}


def check_trainable(trainable: object, hparams: Hparams, *, steps: int = 2, metric: str = "score", seed: int = 0) -> None:
    """Raises an AssertionError unless a member that is saved and loaded continues exactly as one that was never saved.

    A trainable that fails this leaves something out of its checkpoint (optimiser moments, a normaliser, a position in the
    data), and every clone and every resumed member silently trains on without it. `poptrain.check` checks a whole experiment.

    Args:
        hparams: flat, as the space samples them.
        steps: of each of the segments that are trained.
        metric: the key of the score in the metrics.
    """
    from poptrain.preflight import verdict_of

    verdict = verdict_of(trainable, hparams, steps, metric, seed)
    assert verdict.state != "failed", verdict.text
