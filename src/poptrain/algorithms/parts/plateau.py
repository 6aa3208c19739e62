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

Without returns, scores say whether any member has learned, from the `CHANCE`-th interval on. One has not if one of its last two
scores is below the median of what all members had after their first interval. If none has, training has made all of them worse.

Where there is neither, or too little of it, nothing is known, and every decision is as without this.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np

from poptrain.algorithms.parts.exploit import significantly_better
from poptrain.algorithms.parts.snapshot import Population
from poptrain.core import History

ALPHA = 0.001
EFFECT = 1.0
RISING = 0.01  # level of the same test, at which values are not drawn again
FEWEST = 10  # first returns of the population, below which nothing is known
FEWEST_GAINS = 8  # differences of neighbouring scores, below which nothing is known
LOOKED_AT = 6  # newest scores of a lineage
SPREAD = 1.4826 / 2**0.5  # times the median deviation of gains: the standard deviation of the noise of scores
MOST = 64  # newest returns of a result that are looked at
CHANCE = 4  # intervals that values have at least before they are drawn again
FRACTION = 0.125  # of the members that draw again at one moment
OLDEST = 100  # intervals that are counted


class Plateau:
    """What the returns, or else the scores, of one population say, at one moment."""

    def __init__(self, population: Population, first: int, by: str = "scores"):
        """Remembers the population.

        Args:
            first: number of its first tasks: ids 0, 1, … first - 1.
            by: "returns": those alone; "scores": without them, the scores.
        """
        self._population = population
        self._told: _Told = _Returns(population, first)
        if by == "scores" and not self._told.known:
            self._told = _Scores(population, first)
        self._learned: dict[int, bool] = {}

    @cached_property
    def holds(self) -> bool:
        """True if no member has learned; False if one has, or if nothing is known."""
        if not self._told.known:
            return False
        heard = [position for position in range(len(self._population.seats)) if self._told.heard(position)]
        return bool(heard) and not any(map(self.learned, heard))

    def learned(self, position: int) -> bool:
        """True if the member at a position is clearly and much better than the population was at first."""
        if position not in self._learned:
            self._learned[position] = self._told.learned(position)
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
        if not self._told.known or not (self._told.heard(position) and self._told.heard(donor)):
            return donor
        if self.holds:
            return donor if self._told.better(donor, position) else None
        if self.learned(donor) or not self._told.each:
            return donor
        best = [int(each) for each in self._population.order[::-1] if self._population.donors[each] and self.learned(int(each))]
        return next((each for each in best if each != position), donor)

    @cached_property
    def _oldest(self) -> frozenset[int]:
        population = self._population
        ages = {position: self._age(position) for position in range(len(population.seats)) if population.donors[position]}
        count = max(1, int(FRACTION * len(population.seats)))
        flat = (position for position, age in ages.items() if age >= CHANCE and not self._told.rises(position))
        return frozenset(sorted(flat, key=lambda position: (-ages[position], population.place[position]))[:count])

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


class _Told(Protocol):
    """What is known about learning, from one source."""

    each: bool  # True: enough is known of each member to choose between donors

    @property
    def known(self) -> bool:
        """True if it is known what members do before they have learned."""
        ...

    def heard(self, position: int) -> bool:
        """True if something is known about the member at a position."""
        ...

    def learned(self, position: int) -> bool:
        """True if it is clearly and much better than the population was at first."""
        ...

    def rises(self, position: int) -> bool:
        """True if it may be about to learn."""
        ...

    def better(self, one: int, other: int) -> bool:
        """True if one member is clearly better than another one."""
        ...


class _Returns:
    """Episode returns, many of each result."""

    each = True

    def __init__(self, population: Population, first: int):
        history = population.history
        found = [_newest(population, id) for id in range(min(first, history.n)) if history.ok(id)]
        self._begun = np.concatenate(found) if found else np.empty(0)
        self._population, self._now = population, dict[int, np.ndarray]()  # by position
        self.known = len(self._begun) >= FEWEST

    def heard(self, position: int) -> bool:
        return len(self._of(position)) > 1

    def learned(self, position: int) -> bool:
        now, begun = _scaled(self._of(position), self._begun)
        return significantly_better(now, begun, ALPHA) and bool(now.mean() - begun.mean() >= EFFECT * begun.std())

    def rises(self, position: int) -> bool:
        return significantly_better(*_scaled(self._of(position), self._begun), RISING)

    def better(self, one: int, other: int) -> bool:
        return significantly_better(*_scaled(self._of(one), self._of(other)), ALPHA)

    def _of(self, position: int) -> np.ndarray:
        if position not in self._now:
            self._now[position] = _newest(self._population, int(self._population.standing[position]))
        return self._now[position]


class _Scores:
    """Scores alone, two of each member: their noise is read from what they gain from one result to the next."""

    each = False

    def __init__(self, population: Population, first: int):
        history = population.history
        self._lines = [_scores(history, int(id)) for id in population.standing]
        begun = _first_scores(history, 2 * first)  # before training, each member may have had an evaluation
        gains = np.concatenate([np.empty(0), *map(np.diff, self._lines)])
        gains = gains[np.isfinite(gains)]
        self._begun = float(np.median(begun)) if len(begun) else np.nan
        self._noise = SPREAD * float(np.median(np.abs(gains - np.median(gains)))) if len(gains) else np.nan
        self.known = len(begun) > 1 and len(gains) >= FEWEST_GAINS and min(map(len, self._lines), default=0) >= CHANCE

    def heard(self, position: int) -> bool:
        return bool(np.isfinite(self._lines[position][:2]).all())

    def learned(self, position: int) -> bool:
        return bool(self._lines[position][:2].min() > self._begun)

    def rises(self, position: int) -> bool:
        line = self._lines[position]
        return bool(line[:2].mean() > line[2:4].mean() + self._noise)

    def better(self, one: int, other: int) -> bool:
        return bool(self._lines[one][:2].min() > self._lines[other][:2].max() + self._noise)


def _scores(history: History, id: int | None) -> np.ndarray:
    """Returns the scores of a lineage, the newest first; shape (≤ LOOKED_AT,)."""
    found: list[float] = []
    while id is not None and len(found) < LOOKED_AT:
        if history.task(id).steps:
            found.append(history.score(id))
        id = history.task(id).parent
    return np.array(found)


def _first_scores(history: History, tasks: int) -> list[float]:
    """Returns the score of the first interval of every member that is among the first tasks and finished it."""
    found: dict[int, float] = {}
    for id in range(min(tasks, history.n)):
        if history.task(id).steps and history.ok(id):
            found.setdefault(history.task(id).member, history.score(id))
    return list(found.values())


def _newest(population: Population, id: int) -> np.ndarray:
    """Returns the newest returns of one result; shape (≤ MOST,)."""
    result = population.history.result(id)
    return np.asarray([] if result is None else result.returns[-MOST:], float)


def _scaled(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns both samples in a unit in which no square overflows."""
    unit = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0)) or 1.0
    return a / unit, b / unit
