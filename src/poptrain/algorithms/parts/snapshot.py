"""The population at one moment: the scores of its members, their ranks, and the members that may be copied."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from poptrain.core import History, rank
from poptrain.core.rng import rng


@dataclass(frozen=True, eq=False)
class Population:
    """The r seats that have a result, at one moment. A *position* is an index into these arrays, from 0 to r - 1.

    seats      (r,) the seats; those without a result are not ranked yet
    standing   (r,) the task whose checkpoint each seat holds
    scores     (r,) its score, averaged over the last `average` results of its lineage; NaN if it failed or diverged
    donors     (r,) bool: it may be copied, because it is healthy and has steps left in the budget
    order      (r,) positions from the worst to the best; ties are in a random order, drawn for this moment
    place      (r,) the rank of each position, the inverse of `order`: 0 for the worst
    """

    history: History
    seats: np.ndarray
    standing: np.ndarray
    scores: np.ndarray
    donors: np.ndarray
    order: np.ndarray
    place: np.ndarray
    _tops: dict[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, history: History, average: int = 1, first: int | None = None) -> Population:
        """Returns the population at the end of a history.

        Args:
            history: all tasks and results so far.
            average: number of results of a lineage that a score is the mean of.
            first: number of seats to look at, from seat 0; None: all.
        """
        standing = history.standing()[:first]
        seats = np.flatnonzero(standing >= 0)
        standing = standing[seats]
        if average == 1:
            scores = history.scores_of(standing)
        else:
            scores = np.array([smoothed(history, int(id), average) for id in standing])
        donors = np.isfinite(scores)
        if history.budget is not None:
            donors &= history.column("step")[standing] < history.budget
        order = rank(scores, rng(history.seed, history.n, "ties"))
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        return cls(history, seats, standing, scores, donors, order, place)

    def top(self, count: int) -> np.ndarray:
        """Returns the positions of the donors among the best `count` members, from worst to best; shape (≤ count,)."""
        if count not in self._tops:
            best = self.order[len(self.order) - count :]
            self._tops[count] = best[self.donors[best]]
        return self._tops[count]

    def returns(self, position: int, window: int) -> np.ndarray:
        """Returns the last `window` episode returns of the weights at a position, along their lineage; shape (≤ window,).

        After a copy they are those of the donor. The returns of the weights that were given up are not compared again.
        """
        found: list[float] = []
        id: int | None = int(self.standing[position])
        while id is not None and len(found) < window:
            result = self.history.result(id)
            if result is not None and result.error is None:
                found[:0] = [float(value) for value in result.returns][-window:]
            id = self.history.task(id).parent
        return np.asarray(found[-window:])


def smoothed(history: History, id: int, average: int) -> float:
    """Returns the mean score of the last `average` results of a lineage; NaN if the newest is not ok."""
    if not history.ok(id):
        return float("nan")
    scores: list[float] = []
    walk: int | None = id
    while walk is not None and len(scores) < average:
        if history.ok(walk):
            scores.append(history.score(walk))
        walk = history.task(walk).parent
    return float(np.mean(scores))
