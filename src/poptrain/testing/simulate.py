"""Histories without training: an algorithm is run against a function that makes up the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from math import nan

import numpy as np

from poptrain.core import History, Line, Result, Task
from poptrain.core.counting import counted
from poptrain.core.protocols import Algorithm
from poptrain.core.rng import rng

Objective = Callable[[History, Task], float]


def simulated(history: History, task: Task, score: float) -> Result:
    """Returns the result of a task that scored `score`, with a checkpoint and three returns around the score.

    If the task has several evaluations, they lie on the line from its parent's score to its own.
    """
    begin = history.step(task.parent if task.parent is not None else task.teacher)
    step, evals = begin + task.steps, max(1, min(task.evals, task.steps))
    before = _parent_score(history, task, score)
    parts = [(index + 1) / evals for index in range(evals - 1)]
    curve = [(begin + int(task.steps * part), before + part * (score - before)) for part in parts] + [(step, score)]
    spread = rng(task.seed, "returns").normal(size=3)
    returns = tuple(float(score + 0.1 * (value - spread.mean())) for value in spread)
    return Result(task.id, score, step, tuple(curve), returns, {}, f"sim-{task.id}:0", None, 0.0)


def _parent_score(history: History, task: Task, default: float) -> float:
    return history.score(task.parent) if task.parent is not None and history.ok(task.parent) else default


def play(
    algorithm: Algorithm,
    objective: Objective,
    *,
    seed: int = 0,
    budget: int | None = 50,
    order: str = "together",
    most: int = 100_000,
) -> History:
    """Returns the history of a whole run of `algorithm` against ``objective(history, task) -> score``.

    Args:
        seed: of the run.
        budget: steps for each member, or None.
        order: how pending tasks are delivered: "together" (one line), "fifo" (one by one, oldest first), "lifo", or
            "shuffled" (one by one, in an order drawn from the seed).
        most: lines after which a run that has not ended raises an AssertionError.
    """
    history = History(seed, budget)
    while history.lines < most:
        if tasks := algorithm.ask(history):
            history = history.add(tasks)
        pending = history.pending()
        if not pending:
            return history
        if order == "together":
            history = history.add([simulated(history, task, objective(history, task)) for task in pending])
            continue
        index = {"fifo": 0, "lifo": -1}.get(order)
        if index is None:
            index = int(rng(seed, "delivery", history.lines).integers(len(pending)))
        task = pending[index]
        history = history.add([simulated(history, task, objective(history, task))])
    raise AssertionError(f"the run did not end within {counted(most, 'line')}")


def replay(history: History) -> Iterator[tuple[History, Line]]:
    """Yields every prefix of a history, rebuilt line by line, with the line that follows it."""
    prefix = History(history.seed, history.budget, history.sign)
    for number in range(history.lines):
        line = history.line(number)
        yield prefix, line
        prefix = prefix.add(line)


def by_hparams(history: History, task: Task) -> float:
    """Returns the sum of the numeric hyperparameters, plus the score of the parent: an objective without noise."""
    gain = sum(float(value) for value in task.hparams.values() if isinstance(value, (int, float)) and not isinstance(value, bool))
    return _parent_score(history, task, 0.0) + gain * max(task.steps, 0) / 100


def noisy(history: History, task: Task) -> float:
    """Returns `by_hparams` with noise that is drawn from the seed of the task."""
    return by_hparams(history, task) + float(rng(task.seed, "noise").normal()) * 0.05


def constant(history: History, task: Task) -> float:
    """Returns 1.0, so that all tasks tie."""
    return 1.0


@cache
def broken(share: float, value: float = nan) -> Objective:
    """Returns an objective under which a `share` of the tasks, drawn by their seeds, scores `value` (NaN or infinite).

    It is the same object for equal arguments.
    """

    def objective(history: History, task: Task) -> float:
        return value if rng(task.seed, "broken").random() < share else noisy(history, task)

    return objective


def transformed(objective: Objective, function: Callable[[float], float]) -> Objective:
    """Returns the objective after a strictly increasing function; the objective itself sees the scores without it."""
    memory: dict[int, float] = {}

    def seen(history: History, task: Task) -> float:
        hidden = _Hidden(history, memory)
        memory[task.id] = objective(hidden, task)  # type: ignore[arg-type]  # objectives read only `ok` and `score`
        return float(function(np.float64(memory[task.id])))

    return seen


class _Hidden:
    """A history with the scores before the transformation."""

    def __init__(self, history: History, scores: dict[int, float]):
        self._history, self._scores = history, scores

    def ok(self, id: int | None) -> bool:
        return self._history.ok(id)

    def score(self, id: int) -> float:
        return self._scores[id]
