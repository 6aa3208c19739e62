"""Which result of a run should be called the best? The true value of what three rules choose, on problems with known truth.

    python -m benchmarks.best [--quick] --json

PBT with eight members trains for 24 intervals of 12 steps on five problems: an optimum that moves (with normal noise; with heavy
tails; with one score in a hundred far too high; with sudden leaps of the true value), and one whose noise grows with the value,
with sudden collapses. The noise is 1, 5 and 15 times 0.02 of the oracle's gain. Results have the curve of their interval (12
scores), or one score alone. The rules are:

* `highest`: the highest score of the run, the rule of version 0.1;
* `evidence`: `poptrain.core.evidence`, the rule that a run uses when it ends;
* `again`: the same candidates, evaluated ten more times each. It costs ten more evaluations for each member.

A value of 0 is untrained, 1 the oracle. Gains are paired: over the highest score of the same run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import poptrain as pt
from benchmarks.common import figure, main
from poptrain.core import History, Result, Task
from poptrain.core.evidence import best_by_evidence
from poptrain.core.rng import rng
from poptrain.statistics import interval, paired

INTERVAL, ROUNDS, RATE, NOISE = 12, 24, 0.01, 0.02
BUDGET = INTERVAL * ROUNDS
SPACE = pt.Space(lr=pt.LogUniform(1e-5, 1.0), ent=pt.LogUniform(1e-4, 1e-1))
PROBLEMS = ("drift", "tails", "collapse", "spikes", "leaps")
SUDDEN = {"collapse": (0.004, -0.3), "leaps": (0.002, 0.25)}  # chances in a step, and by how much the true value changes


class Problem:
    """A quality that grows faster the nearer two parameters are to an optimum, and its noisy scores."""

    def __init__(self, name: str, noise: float, seed: int):
        g = np.random.default_rng([seed, PROBLEMS.index(name)])
        self.name, self.noise = name, noise * NOISE
        self.begin, self.end, self.ent = g.uniform(0.5, 0.9), g.uniform(0.1, 0.5), g.uniform(0.3, 0.7)

    def trained(self, value: float, t: int, task: Task, g: np.random.Generator) -> float:
        u = SPACE.encode(task.hparams)
        moved = t / BUDGET if self.name != "collapse" else 0.5
        x, y = (u[0] - (self.begin + (self.end - self.begin) * moved)) / 0.3, (u[1] - self.ent) / 0.5
        value = max(value + RATE * (1 - value) * max(1 - x * x - y * y, -0.5), -0.5)
        chance, by = SUDDEN.get(self.name, (0.0, 0.0))
        return value + by if chance and g.random() < chance else value

    def score(self, value: float, g: np.random.Generator) -> float:
        drawn = g.standard_t(2) if self.name == "tails" else g.normal()
        if self.name == "spikes" and g.random() < 0.01:
            drawn += 30
        return value + self.noise * float(drawn) * ((0.3 + abs(value)) * 2 if self.name == "collapse" else 1.0)


def trained(problem: Problem, curve: bool, seed: int) -> tuple[History, dict[int | None, float]]:
    """Returns a run, and the true value of each task."""
    algorithm, history, values = pt.pbt(SPACE, 8, interval=INTERVAL), History(seed, BUDGET), dict[int | None, float]({None: 0.0})
    while tasks := algorithm.ask(history):
        results = []
        for task in tasks:
            g, value, begin, points = rng(task.seed, "best"), values[task.parent], history.step(task.parent), []
            for t in range(begin, begin + task.steps):
                value = problem.trained(value, t, task, g)
                points.append((t + 1, problem.score(value, g)))
            values[task.id] = value
            results.append(Result(task.id, points[-1][1], points[-1][0], tuple(points if curve else ()), checkpoint=f"{task.id}"))
        history = history.add(tasks).add(results)
    return history, values


def chosen(problem: Problem, curve: bool, seed: int) -> dict[str, float]:
    """Returns the true value of what each rule chooses, on the scale of the oracle."""
    history, values = trained(problem, curve, seed)
    highest, found, g = history.best(), best_by_evidence(history), rng(seed, "again")
    assert highest is not None and found is not None
    candidates = {*history.heads().tolist(), highest}
    again = max(candidates, key=lambda id: np.mean([problem.score(values[id], g) for _ in range(10)]))
    oracle = 1 - (1 - RATE) ** BUDGET
    return {"highest": values[highest] / oracle, "evidence": values[found.task] / oracle, "again": values[again] / oracle}


def measure(quick: bool) -> Sequence[dict[str, Any]]:
    """Returns the figures."""
    figures = []
    for curve in (True, False):
        rows = [
            (name, noise, chosen(Problem(name, noise, seed), curve, seed))
            for name in PROBLEMS for noise in (1, 5, 15) for seed in range(4 if quick else 20)
        ]  # fmt: skip
        for rule in ("evidence", "again"):
            for noise in (1, 5, 15):
                picked = [row for _, strength, row in rows if strength == noise]
                gains = [row[rule] - row["highest"] for row in picked]
                low, high = interval(gains, np.mean)
                won, lost, p = paired([row[rule] for row in picked], [row["highest"] for row in picked])
                what = f"{'curve' if curve else 'one score'}, noise x{noise}: {rule}"
                about = f"[{low:+.3f}, {high:+.3f}], better {won}, worse {lost}, p = {p:.1g}"
                target = "> 0" if rule == "evidence" and noise > 1 else ""
                holds = low > 0 if target else None
                figures.append(
                    figure(what, float(np.mean(gains)), about, target, holds, len(gains), float(np.std(gains, ddof=1)))
                )
    return figures


if __name__ == "__main__":
    main("best", measure, sys.modules[__name__].__doc__)
