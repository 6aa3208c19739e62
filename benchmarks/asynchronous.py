"""Asynchronous runs whose members have different speeds: does a member reach the budget, what is trained in all, how good is it?

    python -m benchmarks.asynchronous [--quick] --json

180 runs: PBT and PB2, populations of 4, 8 and 16, ten seeds, and three kinds of machines, on a clock that is simulated:

* `equal`: a task takes about the same time for every member (standard deviation 10 %);
* `speeds`: one quarter of the members is eight times as fast as another quarter;
* `tails`: durations have a heavy tail (Pareto, shape 1.1), so that a task may take a hundred times as long as the median.

The problem drifts: of two parameters one moves and one jumps, and a third has no effect. Scores are noisy. A value of 0 is
untrained, 1 is the oracle. Each run is made twice: with the budget that members share, as it is by default, and with the old
rule (``shared_budget=False``), under which a member ends when its seat has trained the budget.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

import poptrain as pt
from benchmarks.common import figure, main
from poptrain.algorithms.pbt import Pbt
from poptrain.core import History, Result, Task
from poptrain.core.rng import rng
from poptrain.statistics import paired

INTERVAL, ROUNDS, RATE, NOISE = 12, 12, 0.014, 0.02
BUDGET = INTERVAL * ROUNDS
SPACE = pt.Space(lr=pt.LogUniform(1e-5, 1.0), ent=pt.LogUniform(1e-4, 1e-1), none=pt.Uniform(0.0, 1.0))
KINDS = ("equal", "speeds", "tails")
ALGORITHMS = {"PBT": pt.pbt, "PB2": pt.pb2}


class Outcome(NamedTuple):
    """One run."""

    reached: bool  # a member is at the budget
    all_reached: float  # share of the members that are
    steps: float  # trained by all members, in units of population x budget
    value: float  # true value of the member with the best last score


class Drift:
    """A quality that grows by up to `RATE` a step, and faster the nearer the parameters are to a moving optimum."""

    def __init__(self, seed: int):
        g = np.random.default_rng([seed, 77])
        self.a, self.b, self.c, self.d = g.uniform(0.6, 0.9), g.uniform(0.1, 0.4), g.uniform(0.1, 0.4), g.uniform(0.6, 0.9)
        self.jump = g.uniform(0.4, 0.6) * BUDGET

    def trained(self, value: float, begin: int, task: Task) -> float:
        u = SPACE.encode(task.hparams)
        for t in range(begin, begin + task.steps):
            x = (u[0] - (self.a + (self.b - self.a) * t / BUDGET)) / 0.25
            y = (u[1] - (self.c if t < self.jump else self.d)) / 0.35
            value = max(value + RATE * (1 - value) * max(1 - x * x - y * y, -0.5), -0.5)
        return value

    oracle = 1 - (1 - RATE) ** BUDGET


def duration(kind: str, task: Task, seed: int) -> float:
    """Returns the time that a task takes on a machine of this kind."""
    g = rng(seed, "duration", task.id)
    if kind == "tails":
        return task.steps * float(g.pareto(1.1) + 1)
    speed = (8.0, 2.0, 2.0, 1.0)[task.member % 4] if kind == "speeds" else 1.0
    return task.steps * max(float(1 + 0.1 * g.normal()), 0.1) / speed


def outcome(algorithm: Pbt, kind: str, seed: int) -> Outcome:
    """Returns how a run ends whose results arrive when the simulated clock says so."""
    history, problem, values = History(seed, BUDGET), Drift(seed), dict[int | None, float]({None: 0.0})
    now, running = 0.0, list[tuple[float, int]]()
    while True:
        if tasks := algorithm.ask(history):
            history = history.add(tasks)
            for task in tasks:
                heapq.heappush(running, (now + duration(kind, task, seed), task.id))
        if not running:
            break
        now, id = heapq.heappop(running)
        task = history.task(id)
        begin = history.step(task.parent)
        values[id] = problem.trained(values[task.parent], begin, task)
        score = values[id] + NOISE * float(rng(task.seed, "noise").normal())
        history = history.add([Result(id, score, begin + task.steps, checkpoint=f"{id}")])
    heads = history.heads().tolist()
    at = [history.step(id) >= BUDGET for id in heads]
    spent = sum(history.spent(id) for id in heads)
    best = max(heads, key=history.score)
    return Outcome(any(at), float(np.mean(at)), spent / (BUDGET * len(heads)), values[best] / problem.oracle)


def pairs(quick: bool) -> Iterator[tuple[str, Outcome, Outcome]]:
    """Yields the algorithm and kind, and the outcomes of one run: with a shared budget, and with the old rule."""
    for name, make in ALGORITHMS.items():
        for population in (4, 8) if quick else (4, 8, 16):
            for kind in KINDS:
                for seed in range(3 if quick else 10):
                    algorithm = make(SPACE, population, interval=INTERVAL, sync=False)
                    yield (
                        f"{name}, {kind}",
                        outcome(algorithm, kind, seed),
                        outcome(replace(algorithm, shared_budget=False), kind, seed),
                    )


def measure(quick: bool) -> Sequence[dict[str, Any]]:
    """Returns the figures."""
    found = list(pairs(quick))
    new, old = [each for _, each, _ in found], [each for _, _, each in found]
    n = len(found)
    ended, most = sum(each.reached for each in new), max(each.steps for each in new)
    figures = [
        figure("runs that end with a member at the budget", ended, "runs", f"= {n}", ended == n, n),
        figure("the same, old rule", sum(each.reached for each in old), "runs", n=n),
        figure("members at the budget", float(np.mean([each.all_reached for each in new])), "share", n=n),
        figure("the same, old rule", float(np.mean([each.all_reached for each in old])), "share", n=n),
        figure("steps trained, most", most, "population x budget", "<= 1", most <= 1, n),
        figure("steps trained, mean", float(np.mean([each.steps for each in new])), "population x budget", n=n),
        figure("the same, old rule", float(np.mean([each.steps for each in old])), "population x budget", n=n),
    ]
    for group in dict.fromkeys(name for name, _, _ in found):
        rows = [(a.value, b.value) for name, a, b in found if name == group]
        gain = np.array([a - b for a, b in rows])
        won, lost, p = paired([a for a, _ in rows], [b for _, b in rows])
        figures.append(figure(f"{group}: value", float(np.mean([a for a, _ in rows])), "of the oracle", n=len(rows)))
        figures.append(
            figure(f"{group}: gain over the old rule", float(gain.mean()), f"{won} of {won + lost} better, p = {p:.2g}",
                   n=len(rows), spread=float(gain.std(ddof=1)))
        )  # fmt: skip
    return figures


if __name__ == "__main__":
    main("asynchronous", measure, sys.modules[__name__].__doc__)
