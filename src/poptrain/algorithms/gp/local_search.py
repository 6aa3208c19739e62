"""The maximum of an acquisition function near one configuration, over numbers, whole numbers and categories together (BG-PBT,
arXiv:2207.09405, after CASMOPOLITAN).

    best of many random points of the neighbourhood, and its centre                                         starts
    repeat: follow the gradient of the continuous numbers inside the box                                    (1)
            move to the best neighbour in one discrete column, until none is better                         (2)
    the best point that was seen                                                                            (3)

Points are rows of codes of the whole space, shape (m, D): numbers in [0, 1], and the index of the option for a `Choice`.

Departures from the reference code: starts lie in the neighbourhood and on the lattice; the gradient is followed by a bounded
quasi-Newton method and not by single steps of a fixed length; *all* neighbours in one column are tried, not ten; the best point
is returned, not the last one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from poptrain.space import Space
from poptrain.space.parameter import Parameter

RANDOM_POINTS = 128
STARTS = 2
ROUNDS = 2  # of (1) and (2)
CLIMB_STEPS = 8
MOVES = 6  # in discrete columns, each round
COARSE = 32  # levels up to which a column is discrete; above, it is continuous, and rounded in the end
NUDGE, UP = 1e-9, 1 - 1e-9  # a distance to the next level, and where such a position is rounded up; down it is 0
CHANGED_COLUMNS = 6.0  # of a random point, on average: in many dimensions, points that differ in all are far away

Values = Callable[[np.ndarray], np.ndarray]  # of points (m, D); shape (m,)
Slope = Callable[[np.ndarray], tuple[float, np.ndarray]]  # value at a point (D,), and its derivative by the codes; shape (D,)


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The configurations that may be suggested: a box of numbers, and a Hamming ball of categories, around a centre.

    Args:
        space: all parameters.
        centre: codes of the parent's configuration, on the lattice; shape (D,).
        free: columns of numbers that may change; shape (f,).
        width: of the box in each of them; shape (f,).
        categories: columns of categories that may change.
        flips: how many of them may differ from the centre.
        exact: whole numbers of many levels stay inside the box, which reaches their next level at least.
    """

    space: Space
    centre: np.ndarray
    free: tuple[int, ...]
    width: np.ndarray
    categories: tuple[int, ...] = ()
    flips: int = 0
    exact: bool = True

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and highest code of every column; shapes (D,). A discrete column reaches its next level at least."""
        low, high = self.centre.copy(), self.centre.copy()
        for column, width in zip(self.free, self.width.tolist(), strict=True):
            here = self.centre[column]
            low[column], high[column] = max(here - width / 2, 0.0), min(here + width / 2, 1.0)
            if column in self._grids:
                grid = self._grids[column]
                low[column] = min(low[column], grid[grid < here - 1e-9].max(initial=0.0) if (grid < here - 1e-9).any() else here)
                high[column] = max(
                    high[column], grid[grid > here + 1e-9].min(initial=1.0) if (grid > here + 1e-9).any() else here
                )
            elif self.exact and (p := self._parameters[column]).levels is not None:
                value = p.decode(float(here))
                low[column] = min(low[column], p.encode(p.shift(value, -NUDGE, 0.0)))
                high[column] = max(high[column], p.encode(p.shift(value, NUDGE, UP)))
        return low, high

    @cached_property
    def _parameters(self) -> tuple[Parameter, ...]:
        return tuple(self.space.values())

    @cached_property
    def _grids(self) -> dict[int, np.ndarray]:
        """All codes of every discrete column."""
        return {c: codes_of(self._parameters[c]) for c in self.free if (self._parameters[c].levels or np.inf) <= COARSE}

    @cached_property
    def levels(self) -> dict[int, np.ndarray]:
        """The codes inside the box of every discrete column."""
        low, high = self.bounds
        return {c: grid[(grid >= low[c] - 1e-9) & (grid <= high[c] + 1e-9)] for c, grid in self._grids.items()}

    @cached_property
    def continuous(self) -> np.ndarray:
        """The columns whose gradient is followed."""
        columns: np.ndarray = np.array([column for column in self.free if column not in self._grids], int)
        return columns

    def snapped(self, points: np.ndarray) -> np.ndarray:
        """Returns the points with whole numbers of many levels rounded, and other numbers rounded to a millionth."""
        out = points.copy()
        for column in self.continuous.tolist():
            p = self._parameters[column]
            if p.levels is not None:
                ends = (float(end[column]) for end in self.bounds) if self.exact else (-np.inf, np.inf)
                out[:, column] = _levels(p, points[:, column].tolist(), *ends)
            else:
                out[:, column] = np.clip(points[:, column].round(6), 0, 1)
        return out

    def random(self, generator: np.random.Generator, count: int, share: float | None = None) -> np.ndarray:
        """Returns random points; each changes a few columns of the centre, drawn uniformly inside the neighbourhood.

        Args:
            share: of the columns that a point changes; None: a few.
        """
        points = np.repeat(self.centre[None], count, 0)
        low, high = self.bounds
        if share is None:
            share = min(1.0, CHANGED_COLUMNS / max(len(self.free), 1))
        for column in self.free:
            moved, u = generator.random(count) < share, generator.uniform(low[column], high[column], count)
            if column in self.levels:
                grid = self.levels[column]
                u = grid[np.minimum((generator.random(count) * len(grid)).astype(int), len(grid) - 1)]
            points[moved, column] = u[moved]
        if self.flips:
            changes = generator.integers(0, self.flips + 1, count)
            order = np.argsort(generator.random((count, len(self.categories))), 1)
            for place, column in enumerate(self.categories):
                options = self._parameters[column].levels or 1
                drawn = (points[:, column] + generator.integers(1, options, count)) % options
                points[:, column] = np.where(order[:, place] < changes, drawn, points[:, column])
        return self.snapped(points)

    def anywhere(self, generator: np.random.Generator) -> np.ndarray:
        """Returns one point that is uniform in the box and in the ball; shape (D,)."""
        point: np.ndarray = self.random(generator, 1, share=1.0)[0]
        return point

    def neighbours(self, point: np.ndarray) -> np.ndarray:
        """Returns all points that differ from `point` in one discrete column and lie in the neighbourhood; shape (m, D)."""
        found = []
        for column, grid in self.levels.items():
            found += [(column, code) for code in grid.tolist() if code != point[column]]
        differs = sum(point[column] != self.centre[column] for column in self.categories)
        for column in self.categories:
            for code in range(self._parameters[column].levels or 1):
                more = int(code != self.centre[column]) - int(point[column] != self.centre[column])
                if code != point[column] and differs + more <= self.flips:
                    found.append((column, float(code)))
        points = np.repeat(point[None], len(found), 0)
        for row, (column, code) in enumerate(found):
            points[row, column] = code
        return points

    def contains(self, point: np.ndarray) -> bool:
        """True if a point lies in the box and in the ball, up to rounding, and equals the centre in all other columns."""
        low, high = self.bounds
        numbers = [column for column in range(len(point)) if column not in self.categories]
        inside = ((point >= low - 1e-6) & (point <= high + 1e-6))[numbers].all()
        return bool(inside) and sum(point[column] != self.centre[column] for column in self.categories) <= self.flips


def _levels(p: Parameter, units: list[float], low: float, high: float) -> list[float]:
    """Returns the codes of the levels nearest to some numbers; where that is not between `low` and `high`, of the next level."""
    codes = []
    for u in units:
        value = p.decode(u)
        code = p.encode(value)
        if code > high + 1e-9:
            code = p.encode(p.shift(value, -NUDGE, 0.0))
        elif code < low - 1e-9:
            code = p.encode(p.shift(value, NUDGE, UP))
        codes.append(code)
    return codes


@lru_cache(maxsize=1024)
def codes_of(p: Parameter) -> np.ndarray:
    """Returns the codes of all values of a parameter with few levels, in order; shape (levels,)."""
    codes: np.ndarray = np.unique([p.encode(p.decode(u)) for u in np.linspace(0, 1, 1 + 64 * COARSE)])
    return codes


def searched(
    values: Values, slope: Slope, near: Neighbourhood, generator: np.random.Generator, count: int = RANDOM_POINTS
) -> np.ndarray:
    """Returns the point of the neighbourhood with the highest value that the search found; shape (D,)."""
    points = np.concatenate([near.centre[None], near.random(generator, count)])
    scores = values(points)
    order = np.argsort(-scores, kind="stable")[:STARTS]
    best: np.ndarray = points[order[0]]
    top = scores[order[0]]
    for start in dict.fromkeys([0, *order.tolist()]):
        point, score = points[start], scores[start]
        for _ in range(ROUNDS):
            before = score
            point, score = _climbed(values, slope, near, point, score)  # (1)
            point, score = _moved(values, near, point, score)  # (2)
            if score <= before:
                break
        if score > top:  # (3)
            best, top = point, score
    return best


def _climbed(values: Values, slope: Slope, near: Neighbourhood, point: np.ndarray, score: float) -> tuple[np.ndarray, float]:
    """Returns the end of an ascent along the continuous columns, rounded to a millionth; the start, if that was better."""
    from scipy.optimize import minimize

    columns = near.continuous
    if not len(columns):
        return point, score

    def downhill(u: np.ndarray) -> tuple[float, np.ndarray]:
        at = point.copy()
        at[columns] = u
        value, by = slope(at)
        return -value, -by[columns]

    low, high = near.bounds
    bounds = list(zip(low[columns], high[columns], strict=True))
    options = {"maxiter": CLIMB_STEPS, "maxfun": 2 * CLIMB_STEPS}
    found = minimize(downhill, point[columns], jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    if not np.isfinite(found.x).all():
        return point, score
    ended = point.copy()
    ended[columns] = found.x
    ended = near.snapped(ended[None])[0]
    value = float(values(ended[None])[0])
    return (ended, value) if value > score else (point, score)


def _moved(values: Values, near: Neighbourhood, point: np.ndarray, score: float) -> tuple[np.ndarray, float]:
    """Returns where moves to the best discrete neighbour end."""
    for _ in range(MOVES):
        points = near.neighbours(point)
        if not len(points):
            break
        scores = values(points)
        best = int(np.argmax(scores))
        if not scores[best] > score:
            break
        point, score = points[best], float(scores[best])
    return point, score
