"""Why no method of `mixed_study` reliably finds the good augmentation: the values that its clones drew, on separate seeds.

    python -m benchmarks.mixed_draws --json      # about two minutes

For each method, over 8 runs of 30 rounds: the share of the good augmentation among the clones' draws and among all members, in
each third of the runs; and the learning rate that the members of the last third train with (mean of its decimal logarithm).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import poptrain as pt
from benchmarks.common import figure, main
from benchmarks.mixed_study import INTERVAL, METHODS, SPACE, train

GOOD, ROUNDS, FIRST_SEED = "shift", 30, 100


def drawn(history: pt.History) -> list[tuple[int, bool, bool, float]]:
    """Returns (third of the run, is a clone, has the good augmentation, log10 of the learning rate) of every trained segment."""
    rows = []
    for id in range(history.n):
        task = history.task(id)
        if task.parent is not None and task.steps:
            third = min(3 * history.step(task.parent) // (ROUNDS * INTERVAL), 2)
            clone = history.task(task.parent).member != task.member
            rows.append((third, clone, task.hparams["augment"] == GOOD, float(np.log10(task.hparams["lr"]))))
    return rows


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures of every method; `quick` makes two runs of each."""
    figures = []
    for name, make in METHODS.items():
        if name == "random":
            continue  # it draws nothing after the start
        rows = []
        for seed in range(FIRST_SEED, FIRST_SEED + (2 if quick else 8)):
            rows += drawn(pt.run(make(SPACE), train, stop=pt.steps(ROUNDS * INTERVAL), seed=seed).history)
        third, clone, good, rate = (np.array(column) for column in zip(*rows, strict=True))
        for index, which in enumerate(("first", "second", "last")):
            for whose, here in (("draws", (third == index) & clone), ("members", third == index)):
                about = f"{name}: share of the good one among {whose}, {which} third"
                figures += [figure(about, float(good[here].mean()), n=int(here.sum()))] if here.any() else []
        last = rate[third == 2]
        label = f"{name}: log10 of the learning rate, last third"
        figures.append(figure(label, float(last.mean()), n=len(last), spread=float(last.std())))
    return figures


if __name__ == "__main__":
    main("mixed_draws", measure, __doc__.splitlines()[0])
