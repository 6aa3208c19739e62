"""What the golden runs train: members that climb 1 - x² from x = 1, in every form that a trainable can have.

The logs record these functions and classes by module and name, and some of them by a hash of their source too. So nothing in
this file may be renamed, moved or rewritten, not even a comment inside a function. Add new ones instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

import poptrain as pt

LIMIT = 0.05  # the learning rate above which the faulty ones fail
STOP: list[Callable[[], None] | None] = []  # what `stoppable` does before each of its next tasks; the maker fills it


def climb(carry, hp, steps, seed):
    """The function form. Its carry holds plain numbers only, so that a checkpoint is one small file."""
    x, done = (1.0, 0) if carry is None else (carry["x"], carry["done"])
    rate = hp["lr"] * (1 + hp.get("kind", 0) * (0.5 - done / 40))  # which kind is best changes while it trains
    noise = pt.rng(seed, "climb").normal(size=max(steps, 1))
    for step in range(steps):
        x = x - 2 * rate * x + 1e-3 * float(noise[step])
    x = round(x, 9)
    return {"x": x, "done": done + steps}, {"score": round(1 - x * x, 6), "x": round(x, 4)}


def descend(carry, hp, steps, seed):
    """`climb`, to be minimised."""
    carry, metrics = climb(carry, hp, steps, seed)
    return carry, {"loss": round(1 - metrics["score"], 6)}


def measured(carry, hp, steps, seed):
    """`climb`, with returns for the t-test, a curve of its own, and more steps than it was asked for."""
    carry, metrics = climb(carry, hp, steps + 1, seed)
    spread = 0.02 * pt.rng(seed, "returns").normal(size=4)
    curve = [(steps // 2, round(metrics["score"] - 0.01, 6))]
    returns = [round(metrics["score"] + float(each), 5) for each in spread]
    return carry, {**metrics, "returns": returns, "curve": curve, "steps": steps + 1}


def many(carry, hp, steps, seed):
    """`climb`, with every kind of hyperparameter; its carry holds every kind of value that a checkpoint stores exactly."""
    carry, metrics = climb(None if carry is None else carry["plain"], {"lr": hp["opt"]["lr"]}, steps, seed)
    bonus = 0.05 * hp["momentum"] + 0.01 * hp["layers"] - 0.02 * (hp["act"] == "tanh") - 1e-4 * hp["batch"]
    bonus += 1e-3 * hp["width"] - 0.1 * (1 - hp["discount"])
    stored = {
        "plain": carry,
        "words": ["a", None, True, (1, 2.5, float("inf"))],
        "large": 1 << 80,
        "float64": np.array([carry["x"], float("nan")]),
        "float32": np.arange(3, dtype=np.float32).reshape(1, 3),
        "int64": np.array(carry["done"]),
        "uint8": np.arange(4, dtype=np.uint8),
        "bool": np.array([True, False]),
        "scalar": np.float32(0.5),
        "empty": np.zeros((0, 2)),
    }
    return stored, {"score": round(metrics["score"] + bonus, 6)}


def tidy(hparams):
    """The repair of a space: no batch above 32 with two layers."""
    return {**hparams, "batch": min(hparams["batch"], 32)} if hparams["layers"] == 2 else hparams


def halved(hparams, generator):
    """An explore of the user's own."""
    return {**hparams, "lr": hparams["lr"] * (0.5 if generator.random() < 0.5 else 2.0)}


def raising(carry, hp, steps, seed):
    """`climb`; members above the limit raise in their second task."""
    carry, metrics = climb(carry, hp, steps, seed)
    if hp["lr"] > LIMIT and carry["done"] > 4:
        raise ValueError("a planted fault")
    return carry, metrics


def diverging(carry, hp, steps, seed):
    """`climb`; members above the limit score NaN from their second task on."""
    carry, metrics = climb(carry, hp, steps, seed)
    return carry, {**metrics, "score": float("nan")} if hp["lr"] > LIMIT and carry["done"] > 4 else metrics


def hopeless(carry, hp, steps, seed):
    """Fails in its second task, whatever its hyperparameters are."""
    carry, metrics = climb(carry, hp, steps, seed)
    if carry["done"] > 4:
        raise RuntimeError("nothing works")
    return carry, metrics


def stoppable(carry, hp, steps, seed):
    """`climb`; before a task it does what `STOP` says."""
    if STOP and (action := STOP.pop(0)) is not None:
        action()
    return climb(carry, hp, steps, seed)


def climbing(carry, hp, seed):
    """The generator form."""
    while True:
        carry, metrics = climb(carry, hp, 1, seed)
        yield carry, metrics


class Climber:
    """The class form, which saves and loads files of its own."""

    def __init__(self, hp, seed):
        self.carry = None
        self.seed = seed

    def train(self, hp, steps):
        self.carry, metrics = climb(self.carry, hp, steps, self.seed)
        return metrics

    def save(self, directory):
        (directory / "deep").mkdir()
        (directory / "deep" / "state.json").write_text(json.dumps(self.carry))

    def load(self, directory):
        self.carry = json.loads((directory / "deep" / "state.json").read_text())


class Herd:
    """The population form: all members at once, in NumPy."""

    population = True

    def init(self, hparams: Any, seeds: Any) -> Any:
        return {"x": np.ones(len(seeds)), "done": np.zeros(len(seeds), np.int64)}

    def train(self, carry: Any, hparams: Any, steps: int, seeds: Any) -> Any:
        shift = (np.asarray(seeds) % 1000) * 1e-6
        x = np.round(carry["x"] * (1 - 2 * hparams["lr"]) ** steps + shift, 9)
        return {"x": x, "done": carry["done"] + steps}, {"score": np.round(1 - x * x, 6)}

    def gather(self, lanes: Any) -> Any:
        return {name: np.array([carry[name][lane] for carry, lane in lanes]) for name in ("x", "done")}
