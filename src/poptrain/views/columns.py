"""Many tasks at once: where they begin and end, and the points of their curves. What a picture of a long run is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import numpy as np

from poptrain.core import History, Result
from poptrain.core.facts import results_of
from poptrain.core.gathered import Ints

StepScore = tuple[int, float]


def ids_of(ids: Sequence[int]) -> Ints:
    """Returns ids as an array, also none of them; shape (k,), int."""
    return np.asarray(ids, np.int64)


def sources(history: History, ids: Sequence[int] | None = None) -> Ints:
    """Returns `History.source` of these tasks, by default of all; shape (k,), int, -1 for none."""
    at = slice(None) if ids is None else ids_of(ids)
    parents = history.column("parent")[at]
    return np.where(parents >= 0, parents, history.column("teacher")[at])


def begins(history: History, ids: Sequence[int]) -> Ints:
    """Returns `History.begin` of these tasks; shape (k,), int."""
    found = sources(history, ids)
    return np.where(found >= 0, history.column("step")[found], 0)


def ends(history: History, ids: Sequence[int]) -> Ints:
    """Returns `History.end` of these tasks; shape (k,), int."""
    at = ids_of(ids)
    found = history.column("step")[at]
    for index in np.flatnonzero(~history.oks_of(at)).tolist():  # pending, failed or lost
        found[index] = history.end(int(at[index]))
    return found


def results(history: History) -> list[Result | None]:
    """Returns the result of every task as the log has it: scores are maximised; None while it is pending."""
    found: list[Result | None] = [None] * history.n
    for number in range(history.lines):
        for result in results_of(history.line(number)):
            found[result.task] = result
    return found


@dataclass(frozen=True)
class Points:
    """The curves of all tasks, one after the other: those of task i are ``points[first[i]:first[i + 1]]``."""

    first: Sequence[int]  # shape (n + 1,)
    points: Sequence[StepScore]  # with the user's sign

    @classmethod
    def of(cls, history: History, found: Sequence[Result | None]) -> Points:
        """Returns the points of all curves; of a result without a curve, its step and score alone.

        Args:
            found: what `results` returns.
        """
        sign = history.sign
        each = [() if one is None else one.curve or ((one.step, one.score),) for one in found]
        points = [(int(step), float(sign * score)) for step, score in chain.from_iterable(each)]
        return cls([0, *accumulate(map(len, each))], points)

    def along(self, ids: Sequence[int]) -> list[StepScore]:
        """Returns the points of some tasks, in their order."""
        first, points = self.first, self.points
        return [point for id in ids for point in points[first[id] : first[id + 1]]]
