"""The steps that the members of a population share: the best of them always reaches the budget, and the total is bounded.

In an asynchronous run members are at different steps. A member that copies one with fewer steps goes back, and needs more
training to reach the budget; a member that copies one with more steps skips steps, and needs less. If each seat trained the
budget and no more, every member that has gone back would end too early, and sometimes no member would reach the budget.

So the members share `population` x budget steps. As long as these bring all members to the budget, every member trains. When
they don't any more, those that the best member needs are kept for it, and the others may train with what is left over. At the
end those stop early that can't be brought to the budget: they have paid for the copies that went back.

In a synchronous run all members are at the same step, and there is always enough for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from poptrain.algorithms.parts.snapshot import Population
from poptrain.core import History
from poptrain.core.interval import Interval


class Allowance:
    """The steps that are left at one moment, for the decisions of one ask.

    Whether a seat gets a task depends on what is known, and never on a random draw: asked again, it would get the same answer.

    Args:
        population: the ranked members. The steps of members that are not ranked (controls) are always kept for them.
        interval: length of a task.
        shared: False: `parts.turns` bounds the steps of each seat instead, and there is always enough.
    """

    def __init__(self, population: Population, interval: Interval, shared: bool = True):
        history, self._population = population.history, population
        self._budget = history.budget if shared else None
        if self._budget is None:
            return
        heads, self._step = history.heads(), _steps(history, history.standing())
        pending, healthy = history.column("told")[heads] >= history.lines, history.oks_of(heads)
        last = np.where(pending, history.column("prev")[heads], heads)  # whose result is known
        spent = np.where(last >= 0, history.column("spent")[last], 0)
        self._interval = interval if isinstance(interval, int) else max(_longest(history, last), 1)
        rest = np.maximum(self._budget - self._step, 0)
        planned = np.where(pending, np.minimum(np.minimum(history.column("steps")[heads], self._interval), rest), 0)
        self._left = len(heads) * self._budget - int(spent.sum() + planned.sum())
        self._rest = np.where(pending | healthy, rest - planned, 0)  # by seat: from the end of its task to the budget
        self._all = int(self._rest.sum())
        self._score = np.full(len(heads), np.inf)
        self._score[population.seats] = population.scores
        self._failed = ~pending & ~healthy

    def turns(self, seats: Iterable[int]) -> Iterator[int]:
        """Yields those seats that may get a task. Between two of them, `go_on` or `copy` takes the steps of the first."""
        waiting = list(seats)
        while waiting:
            denied: list[int] = []
            at = 0
            while at < len(waiting):
                skipped = 0 if self._may_train(waiting[at]) else self._denied(waiting[at:])
                denied += waiting[at : at + skipped]
                if (at := at + skipped) < len(waiting):
                    yield waiting[at]
                at += 1
            if len(denied) == len(waiting):
                return
            waiting = denied  # a copy that skipped steps may have left enough for them

    def go_on(self, seat: int) -> bool:
        """Takes the steps of an interval from the weights of the seat itself; always True, because it is its turn."""
        if self._budget is not None:
            self._take(seat, int(self._step[seat]), float(self._score[seat]))
        return True

    def copy(self, seat: int, donor: int) -> bool:
        """Takes the steps of an interval from the weights of the donor at this position; False if they can't be spared."""
        if self._budget is None:
            return True
        step, score = self._population.history.step(int(self._population.standing[donor])), float(self._population.scores[donor])
        fine = self._spares(seat, score, max(self._budget - step, 0))
        if fine:
            self._take(seat, step, score)
        return fine

    def _may_train(self, seat: int) -> bool:
        """Returns True if the seat can go on with its own weights; of a failed one, if it can begin with any others."""
        if self._budget is None:
            return True
        if self._failed[seat]:
            return self._spares(seat, -np.inf, self._budget)
        return self._spares(seat, float(self._score[seat]), max(self._budget - int(self._step[seat]), 0))

    def _spares(self, seat: int, score: float, rest: int) -> bool:
        """Returns True if steps for an interval are left over, and a member can still reach the budget after it."""
        if self._left >= self._all - int(self._rest[seat]) + rest:
            return True
        return bool(self._spare(np.array([seat]), np.array([score]), np.array([rest]))[0])

    def _denied(self, seats: list[int]) -> int:
        """Returns how many of these seats, from the first on, can't train now."""
        if self._budget is None:
            return 0
        ids = np.array(seats)
        score = np.where(self._failed[ids], -np.inf, self._score[ids])
        fine = self._spare(ids, score, np.where(self._failed[ids], self._budget, np.maximum(self._budget - self._step[ids], 0)))
        return int(fine.argmax()) if fine.any() else len(seats)

    def _spare(self, seats: np.ndarray, score: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """Returns `_spares` of each of several seats; shape of `seats`, bool.

        First those are kept that are not ranked, then the steps of the best member that can still reach the budget.
        """
        length = np.minimum(self._interval, rest)
        kept, left = np.zeros(len(seats), bool), np.full(len(seats), self._left)
        needs = self._rest > 0
        if len(seats) == 1:
            needs[seats] = False  # its score may be that of another member, of which it becomes a copy
        unranked = np.flatnonzero(needs & (self._score == np.inf)).tolist()
        fits = needs & (self._rest <= self._left) & np.isfinite(self._score)
        ranked = score < np.inf
        for index, seat in enumerate(seats.tolist()):
            if not ranked[index]:
                kept[index], left[index] = self._keep([other for other in unranked if other < seat])
        if ranked.any():
            some, rest_of_all = self._keep(unranked)
            kept[ranked], left[ranked] = some, rest_of_all
            if not some and fits.any():
                best = int(np.where(fits, self._score, -np.inf).argmax())
                before = (
                    ranked & ((self._score[best] > score) | ((self._score[best] == score) & (best < seats))) & (best != seats)
                )
                kept, left = kept | before, np.where(before, left - self._rest[best], left)
        others = np.where(self._rest > 0, self._rest, np.iinfo(np.int64).max // 2)
        least = int(others.argmin())
        nearest = np.full(len(seats), others[least])
        others[least] = np.iinfo(np.int64).max // 2
        nearest[seats == least] = others.min()
        reached = kept | (np.minimum(rest, nearest + length) <= self._left)
        spare: np.ndarray = (self._left >= self._all - self._rest[seats] + rest) | ((left >= length) & reached)
        return spare

    def _keep(self, seats: list[int]) -> tuple[bool, int]:
        """Returns whether the steps of any of these seats can be kept, one after another, and the steps that are left then."""
        kept, left = False, self._left
        for rest in self._rest[seats].tolist():
            if rest <= left:
                left, kept = left - rest, True
        return kept, left

    def _take(self, seat: int, step: int, score: float) -> None:
        rest = max((self._budget or 0) - step, 0)
        length = min(self._interval, rest)
        self._left -= length
        self._all += rest - length - int(self._rest[seat])
        self._rest[seat], self._score[seat] = rest - length, score


def _steps(history: History, ids: np.ndarray) -> np.ndarray:
    """Returns the lineage steps of tasks, and 0 for each -1; shape of `ids`."""
    return np.where(ids >= 0, history.column("step")[ids], 0)


def _longest(history: History, ids: np.ndarray) -> int:
    """Returns the most steps that one of these tasks trained: the length of an interval that is a length of time."""
    known = ids[ids >= 0]
    return int((history.column("step")[known] - _steps(history, history.column("parent")[known])).max(initial=0))
