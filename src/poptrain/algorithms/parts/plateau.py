"""Has any member learned yet? Before that, scores are noise, and copies only spread the hyperparameters of a lucky member.

Wide ranges contain many values that train nothing within the first intervals: rates that are too low, batches that are not full
yet. Truncation selects all the same, and after a few rounds the whole population descends from a member whose only merit was
luck, with its hyperparameters and nearby ones. No member may ever learn then.

So a decision asks the episode returns first (`Result.returns`). A member *has learned* if they are better than the first returns
of the whole population, clearly (Welch's one-sided t-test at the level `ALPHA`, which is strict because the best of many is
looked at) and by much (`EFFECT` standard deviations of those: most agents soon gain a little by doing less).

* While no member has learned, they search at random: they keep their weights, and those without any gain whose values have
  had the longest time draw all of them again. A member copies only if it has become worse than its donor at the same level.
* Later, a member that would copy one that has not learned copies the best one that has.

Where results have no returns, or there are too few, nothing is known, and every decision is as without this.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from poptrain.algorithms.parts.exploit import significantly_better
from poptrain.algorithms.parts.snapshot import Population

ALPHA = 0.001
EFFECT = 1.0
RISING = 0.01  # level of the same test, at which values are not drawn again
FEWEST = 10  # first returns of the population, below which nothing is known
MOST = 64  # newest returns of a result that are looked at
CHANCE = 4  # intervals that values have at least before they are drawn again
FRACTION = 0.125  # of the members that draw again at one moment
OLDEST = 100  # intervals that are counted


class Plateau:
    """What the returns of one population say, at one moment."""

    def __init__(self, population: Population, first: int):
        """Remembers the population.

        Args:
            first: number of its first tasks: ids 0, 1, … first - 1.
        """
        self._population, self._first = population, first
        self._learned: dict[int, bool] = {}
        self._now: dict[int, np.ndarray] = {}  # by position

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
        """True if the values at a position had their chance: they are among the oldest of a population that has not learned."""
        return position in self._oldest

    def donor(self, position: int, donor: int) -> int | None:
        """Returns the position that a member should copy; None if it is no better than the member.

        Args:
            position: of the member.
            donor: the position that it would copy.
        """
        if len(self._begun) < FEWEST or min(len(self._returns(position)), len(self._returns(donor))) < 2:
            return donor
        if self.holds:
            return donor if significantly_better(*_scaled(self._returns(donor), self._returns(position)), ALPHA) else None
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
    def _oldest(self) -> frozenset[int]:
        population = self._population
        ages = {position: self._age(position) for position in range(len(population.seats)) if population.donors[position]}
        count = max(1, int(FRACTION * len(population.seats)))
        flat = (position for position, age in ages.items() if age >= CHANCE and not self._rises(position))
        return frozenset(sorted(flat, key=lambda position: (-ages[position], population.place[position]))[:count])

    def _rises(self, position: int) -> bool:
        """True if the member may be about to learn."""
        return significantly_better(*_scaled(self._returns(position), self._begun), RISING)

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
