"""PB2 and its kin on a real task whose categories matter: a small image classifier, its optimiser and its augmentation.

    nohup nice python -m benchmarks.mixed_study &            # about 40 minutes; continues where it stopped
    python -m benchmarks.mixed_study --report --plot --json

Handwritten digits (8 × 8 pixels, scikit-learn's copy of the UCI set): 200 images to train a network of 64 tanh units on, 600
to score it, and 997 to test the best checkpoint once, at the end (the reported accuracy). The images for scoring and testing
are shifted by up to one pixel, those for training are not, and only one augmentation imitates such shifts. Tuned are the
optimiser (each has its own range of good learning rates), the kind and the strength of the augmentation, learning rate, weight
decay and dropout. There are four members and 30 intervals of one epoch, 20 batches of 50. The methods are random search, PBT, PB2
(its model chooses categories too), PB2 with uniformly drawn categories, PB2-Mult and PB2-Mix, each with the defaults of this
library; PB2 with the best and with no augmentation from the start shows how much the category matters. The six methods run for 90
intervals as well. `mixed_study_01` is the same study with the methods of release 0.1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import poptrain as pt
from benchmarks.common import figure
from benchmarks.study import Cell, Study, averages, differences, iqm, main
from poptrain.core.rng import rng

SPACE = pt.Space(
    lr=pt.LogUniform(1e-4, 1.0),
    decay=pt.LogUniform(1e-5, 1e-1),
    dropout=pt.Uniform(0.0, 0.6),
    strength=pt.Uniform(0.0, 1.0),
    optimiser=pt.Choice("momentum", "adam", "sign"),
    augment=pt.Choice("none", "shift", "noise", "flip", "erase", "invert"),
)
HIDDEN, BATCH, INTERVAL = 64, 50, 20


@lru_cache(maxsize=1)
def digits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns the three parts of the data as (images (n, 64) in [0, 1], labels (n,))."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = rng(0, "digits").permutation(len(labels))
    images, labels = images[order] / 16, labels[order]
    images[200:] = shifted(images[200:].reshape(-1, 8, 8), rng(0, "off centre")).reshape(-1, 64)
    parts = {"train": slice(0, 200), "score": slice(200, 800), "test": slice(800, None)}
    return {name: (images[part], labels[part]) for name, part in parts.items()}


def shifted(grid: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Returns images (n, 8, 8), each moved by -1, 0 or 1 pixels along both axes; what comes in is empty."""
    padded, ahead = np.pad(grid, ((0, 0), (1, 1), (1, 1))), np.arange(8)
    rows, columns = generator.integers(0, 3, (2, len(grid), 1))
    return padded[np.arange(len(grid))[:, None, None], (rows + ahead)[:, :, None], (columns + ahead)[:, None, :]]


def augmented(x: np.ndarray, kind: str, strength: float, generator: np.random.Generator) -> np.ndarray:
    """Returns a batch (n, 64) changed at random; `strength` from 0 (not at all) to 1."""
    grid = x.reshape(-1, 8, 8).copy()
    struck = generator.random(len(x)) < strength
    if kind == "shift":
        grid[struck] = shifted(grid[struck], generator)
    elif kind == "noise":
        grid += 0.4 * strength * generator.normal(size=grid.shape)
    elif kind == "flip":
        grid[struck] = grid[struck][:, :, ::-1]
    elif kind == "erase":
        for index in np.flatnonzero(struck):
            row, column = generator.integers(0, 6, 2)
            grid[index, row : row + 3, column : column + 3] = 0
    elif kind == "invert":
        grid[struck] = 1 - grid[struck]
    return grid.reshape(len(x), 64)


def fresh(seed: int) -> dict[str, Any]:
    """Returns a new network with the state of every optimiser: weights (W1, b1, W2, b2), first and second moments, steps."""
    generator = rng(seed, "weights")
    shapes = [(64, HIDDEN), (HIDDEN,), (HIDDEN, 10), (10,)]
    weights = [generator.normal(size=shape) / np.sqrt(shape[0]) if len(shape) > 1 else np.zeros(shape) for shape in shapes]
    return {"w": weights, "m": [np.zeros(s) for s in shapes], "v": [np.zeros(s) for s in shapes], "t": 0}


def train(carry: Any, hp: dict[str, Any], steps: int, seed: int) -> tuple[Any, dict[str, float]]:
    """Trains `steps` batches; the score is minus the cross entropy of the images that are kept for scoring."""
    carry = fresh(seed) if carry is None else carry
    weights, m, v, t = [w.copy() for w in carry["w"]], carry["m"], carry["v"], carry["t"]
    images, labels = digits()["train"]
    generator = rng(seed, "batches")
    for _ in range(steps):
        pick = generator.integers(0, len(labels), BATCH)
        x = augmented(images[pick], hp["augment"], hp["strength"], generator)
        slopes = gradient(weights, x, labels[pick], hp["dropout"], generator)
        t += 1
        m = [0.9 * a + 0.1 * g for a, g in zip(m, slopes, strict=True)]
        v = [0.99 * b + 0.01 * g * g for b, g in zip(v, slopes, strict=True)]
        for index in range(4):
            weights[index] -= hp["lr"] * (direction(hp["optimiser"], m[index], v[index], t) + hp["decay"] * weights[index])
    entropy, accuracy = judged(weights, "score")
    return {"w": weights, "m": m, "v": v, "t": t}, {"score": -entropy, "accuracy": accuracy}


def gradient(
    weights: list[np.ndarray], x: np.ndarray, labels: np.ndarray, dropout: float, generator: np.random.Generator
) -> list[np.ndarray]:
    """Returns the gradient of the mean cross entropy under dropout of the hidden units."""
    w1, b1, w2, b2 = weights
    keep = (generator.random((len(x), HIDDEN)) >= dropout) / (1 - dropout)
    hidden = np.tanh(x @ w1 + b1)
    error = softmax((hidden * keep) @ w2 + b2)
    error[np.arange(len(x)), labels] -= 1
    error /= len(x)
    back = (error @ w2.T) * keep * (1 - hidden**2)
    return [x.T @ back, back.sum(0), (hidden * keep).T @ error, error.sum(0)]


def direction(optimiser: str, m: np.ndarray, v: np.ndarray, t: int) -> np.ndarray:
    """Returns what the learning rate multiplies: three scales, so that the best learning rate depends on the optimiser."""
    if optimiser == "momentum":
        return m
    if optimiser == "adam":
        return (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
    return np.sign(m)


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def judged(weights: list[np.ndarray], part: str) -> tuple[float, float]:
    """Returns cross entropy and accuracy on a part of the data."""
    images, labels = digits()[part]
    w1, b1, w2, b2 = weights
    with np.errstate(all="ignore"):
        chances = softmax(np.tanh(images @ w1 + b1) @ w2 + b2)
        entropy = -np.log(np.maximum(chances[np.arange(len(labels)), labels], 1e-12)).mean()
    return float(entropy), float((chances.argmax(1) == labels).mean())


# -- the study --------------------------------------------------------------------------------------------------------


SHARED: dict[str, Any] = dict(population=4, interval=INTERVAL)
Methods = dict[str, Callable[[pt.Space], Any]]
METHODS: Methods = {
    "random": lambda space: pt.random_search(space, **SHARED),
    "pbt": lambda space: pt.pbt(space, **SHARED),
    "pb2": lambda space: pt.pb2(space, **SHARED),
    "pb2-uniform": lambda space: pt.pb2(space, **SHARED, categories="uniform"),
    "pb2-mult": lambda space: pt.pb2_mult(space, **SHARED),
    "pb2-mix": lambda space: pt.pb2_mix(space, **SHARED),
}
LONG = "-long"


def cells(methods: Methods, fixed: str, seeds: int) -> list[Cell]:
    """Returns the methods, PB2 with one augmentation from the start, and the methods with three times as many rounds on half of
    the seeds; `fixed` names the method that is meant by PB2.
    """
    planned = [Cell(name, make(SPACE), seeds) for name, make in methods.items()]
    for kind in ("shift", "none"):
        planned.append(Cell(f"pb2-{kind}", methods[fixed](pt.Space({**SPACE, "augment": pt.Choice(kind)})), seeds))
    return planned + [Cell(name + LONG, make(SPACE), seeds // 2) for name, make in methods.items()]


def starter(intervals: int) -> Any:
    """Returns how a run of this study is trained."""

    def start(cell: Cell, seed: int, directory: Path) -> pt.Run:
        stop = pt.steps(intervals * INTERVAL * (3 if cell.name.endswith(LONG) else 1))
        return pt.run(cell.algorithm, train, stop=stop, directory=directory, seed=seed)

    return start


def judge(run: pt.Run, seed: int) -> dict[str, Any]:
    """Returns the accuracy of the best checkpoint on the images that were never seen."""
    entropy, accuracy = judged(run.best.load()["w"], "test")
    return {"reported": accuracy, "test_cross_entropy": entropy, "training": float(run.best.score)}


def figures(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Returns accuracies with their intervals, and how far each method is ahead of PBT, and PBT of random search."""
    out = averages(found, "test accuracy", digits=4)
    for cell in found:
        if entropies := [kept["test_cross_entropy"] for kept in found[cell]]:
            out.append(figure(f"{cell}: test cross entropy, interquartile mean", iqm(entropies), "nats", n=len(entropies)))
    names = [name for name in found if name != "random" and name + LONG in found]
    pairs = [(name + kind, ("random" if name == "pbt" else "pbt") + kind) for kind in ("", LONG) for name in names]
    return out + differences(found, [(f"accuracy of {one} - {other}", one, other) for one, other in pairs if other in found])


if __name__ == "__main__":
    main(
        Study("mixed_study", cells(METHODS, "pb2", 20), starter(30), judge, figures),
        Study("mixed_study", cells(METHODS, "pb2", 1), starter(3), judge, figures),
        __doc__.splitlines()[0],
    )
