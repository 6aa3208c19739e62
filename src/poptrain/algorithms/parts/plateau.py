"""Has any member learned yet? Before that, scores are noise, and copies only spread the hyperparameters of a lucky member.

Wide ranges contain many values that train nothing within the first intervals: rates that are too low, batches that are not full
yet. Truncation selects all the same, and after a few rounds the whole population descends from a member whose only merit was
luck, with its hyperparameters and nearby ones. No member may ever learn then. Where learning begins with a dip it is worse: the
members that do nothing are ahead, and are copied.

So a decision asks the episode returns first (`Result.returns`). A member *has learned* if they are better than the first returns
of the whole population, clearly (Welch's one-sided t-test at the level `ALPHA`, which is strict because the best of many is
looked at) and by much (`EFFECT` standard deviations of those: most agents soon gain a little by doing less).

* While no member has learned, they search at random: they keep their weights, and of those whose values had their chance
  (`Search.patience`) without any gain, the worst draw all of them again. A member copies only if it has become worse than its
  donor at the same level. Returns of several intervals with the same values count together, because slow learning is hardly
  seen in one.
* Later, a member that would copy one that has not learned copies the best one that has.

Where results have no returns, or there are too few, nothing is known, and every decision is as without this.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf

import numpy as np

from poptrain.algorithms.parts.exploit import significantly_better
from poptrain.algorithms.parts.snapshot import Population

ALPHA = 0.001
EFFECT = 1.0
RISING = 0.01  # level of the same test, at which values are not drawn again
FEWEST = 10  # first returns of the population, below which nothing is known
MOST = 64  # newest returns of a result that are looked at
OLDEST = 100  # intervals that are counted


@dataclass(frozen=True)
class Search:
    """How members search while no member has learned."""

    patience: int = 2  # intervals that values have at least before they are drawn again
    share: float = 0.25  # of the members that draw again at one moment
    evidence: int = 4  # newest results with the same values whose returns count together
    worst_first: bool = True  # False: those whose values are the oldest


EARLIER = Search(patience=4, share=0.125, evidence=1, worst_first=False)  # of logs that don't say


class Plateau:
    """What the returns of one population say, at one moment."""

    def __init__(self, population: Population, first: int, search: Search = Search()):
        """Remembers the population.

        Args:
            first: number of its first tasks: ids 0, 1, … first - 1.
            search: how members search.
        """
        self._population, self._first, self._search = population, first, search
        self._learned: dict[int, bool] = {}
        self._now: dict[int, np.ndarray] = {}  # by position
        self._recent: dict[int, np.ndarray] = {}

    @cached_property
    def holds(self) -> bool:
        """True if no member has learned; False if one has, or if nothing is known."""
        if len(self._begun) < FEWEST:
            return False
        known = [position for position in range(len(self._population.seats)) if len(self._returns(position)) > 1]
        return bool(known) and not any(map(self.learned, known))

    def learned(self, position: int) -> bool:
        """True if the member at a position is clearly and much better than the population was at first."""
        if position not in self._learned:
            now, begun = _scaled(self._returns(position), self._begun)
            clearly = significantly_better(now, begun, ALPHA)
            self._learned[position] = clearly and bool(now.mean() - begun.mean() >= EFFECT * begun.std())
        return self._learned[position]

    def redraws(self, position: int) -> bool:
        """True if the values at a position had their chance and it is among the worst (or oldest) of those."""
        return position in self._drawing

    def donor(self, position: int, donor: int) -> int | None:
        """Returns the position that a member should copy; None if it is no better than the member.

        Args:
            position: of the member.
            donor: the position that it would copy.
        """
        if len(self._begun) < FEWEST or min(len(self._returns(position)), len(self._returns(donor))) < 2:
            return donor
        if self.holds:
            return donor if significantly_better(*_scaled(self._lately(donor), self._lately(position)), ALPHA) else None
        if self.learned(donor):
            return donor
        best = [int(each) for each in self._population.order[::-1] if self._population.donors[each] and self.learned(int(each))]
        return next((each for each in best if each != position), donor)

    @cached_property
    def _begun(self) -> np.ndarray:
        """The returns of the first results of all members."""
        history = self._population.history
        found = [_newest(self._population, id) for id in range(min(self._first, history.n)) if history.ok(id)]
        return np.concatenate(found) if found else np.empty(0)

    @cached_property
    def _drawing(self) -> frozenset[int]:
        """The positions of the members that draw their values again."""
        population, search = self._population, self._search
        ages = {position: self._age(position) for position in range(len(population.seats)) if population.donors[position]}
        count = max(1, int(search.share * len(population.seats)))
        flat = [position for position, age in ages.items() if age >= search.patience and not self._rises(position)]
        if search.worst_first:
            order = {position: (self._mean(position), population.place[position]) for position in flat}
        else:
            order = {position: (-ages[position], population.place[position]) for position in flat}
        return frozenset(sorted(flat, key=lambda position: order[position])[:count])

    def _rises(self, position: int) -> bool:
        """True if the member may be about to learn."""
        return significantly_better(*_scaled(self._lately(position), self._begun), RISING)

    def _mean(self, position: int) -> float:
        lately = self._lately(position)
        return float((lately / len(lately)).sum()) if len(lately) else -inf  # the sum of large ones may not exist

    def _age(self, position: int) -> int:
        """Returns the number of intervals that the member has trained with its values."""
        history = self._population.history
        standing = int(self._population.standing[position])
        hparams, age = history.task(standing).hparams, 0
        id: int | None = standing
        while id is not None and age < OLDEST and history.task(id).hparams == hparams:
            age += history.task(id).steps > 0
            id = history.task(id).parent
        return age

    def _lately(self, position: int) -> np.ndarray:
        """Returns the returns of the newest results with the present values, along the lineage; shape (n,)."""
        if position not in self._recent:
            history = self._population.history
            newest = int(self._population.standing[position])
            found, id = [self._returns(position)], history.task(newest).parent
            while len(found) < self._search.evidence and id is not None and history.task(id).steps:
                if history.task(id).hparams != history.task(newest).hparams:
                    break
                found.append(_newest(self._population, id))
                id = history.task(id).parent
            self._recent[position] = np.concatenate(found)
        return self._recent[position]

    def _returns(self, position: int) -> np.ndarray:
        if position not in self._now:
            self._now[position] = _newest(self._population, int(self._population.standing[position]))
        return self._now[position]


def _newest(population: Population, id: int) -> np.ndarray:
    """Returns the newest returns of one result; shape (≤ MOST,)."""
    result = population.history.result(id)
    return np.asarray([] if result is None else result.returns[-MOST:], float)


def _scaled(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns both samples in a unit in which no square overflows."""
    unit = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0)) or 1.0
    return a / unit, b / unit
