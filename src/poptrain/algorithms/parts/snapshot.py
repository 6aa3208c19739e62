"""What exploit may look at: one consistent snapshot of the seats, their scores and who may be cloned."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from poptrain.core import History, rank
from poptrain.core.rng import rng


@dataclass(frozen=True, eq=False)
class Population:
    """The seats that have reported, at one moment.

    seats      (r,) the seats that hold a result; others are not ranked yet
    standing   (r,) the task whose checkpoint each of them holds
    scores     (r,) its score, smoothed over `average` results of its lineage; NaN if it failed or diverged
    donors     (r,) bool: it may be cloned (healthy, and with steps left in the budget)
    order      (r,) positions from worst to best; ties in an order drawn for this moment
    place      (r,) the inverse: 0 for the worst
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
        """Returns the snapshot of `history`, or of its `first` so many seats."""
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
        """Returns the positions of the donors among the best `count`, from worst to best; shape (≤ count,)."""
        if count not in self._tops:
            best = self.order[len(self.order) - count :]
            self._tops[count] = best[self.donors[best]]
        return self._tops[count]

    def returns(self, position: int, window: int) -> np.ndarray:
        """Returns the last `window` episode returns of a seat's weights, gathered up their lineage; shape (≤ window,).

        After a copy these are the donor's: the returns of the dead lineage are never compared again.
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
    scores = []
    walk: int | None = id
    while walk is not None and len(scores) < average:
        if history.ok(walk):
            scores.append(history.score(walk))
        walk = history.task(walk).parent
    return float(np.mean(scores))
