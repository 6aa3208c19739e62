"""The rows that a model learns from, and the inputs of the next segments. One row is one finished segment.

    y        (score - score before) / steps trained      a rate, so that segments of unequal length compare
    time     lineage steps before the segment / interval  the interval index
    context  the score before, min-max scaled (in the paper's form alone: it is a clock, and is always asked about at its edge)

A finished task is a row if it trained (steps > 0) from a healthy parent and its score is finite. The gain of a clone counts from
the score of its parent, because it starts with the weights of its parent. Everything is scaled by quantiles and rounded to a
millionth, so that an affine transform of all scores gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from poptrain.algorithms.gp.columns import ModelColumns
from poptrain.algorithms.gp.kernels import Inputs
from poptrain.algorithms.gp.noise import without_lost
from poptrain.algorithms.parts.turns import finished
from poptrain.core import History
from poptrain.space import Space

SCORE_BEFORE = "score before"  # the name of the context among the columns
ROUND_DIGITS = 6
OWN_NOISE = 0.1  # share of the noise of a gain that no other gain has


@dataclass(frozen=True, eq=False)
class Rows:
    """The finished segments that a model learns from, and the scale of their scores."""

    history: History
    space: Space
    interval: int | None  # None: intervals are lengths of time, and time is counted in segments
    ids: np.ndarray  # (n,) task ids, oldest first
    categories: tuple[int, ...] = ()  # columns of the space that are categorical inputs
    context: bool = True  # the score before is an input
    shared_noise: bool = False  # neighbours share the noise of a score, and at least one row is cut on each side
    robust: bool = False  # scores that are lost do not decide which gains count as equal

    @classmethod
    def of(
        cls,
        history: History,
        space: Space,
        interval: int | None,
        window: int,
        categories: tuple[int, ...] = (),
        since: int = 0,
        **options: bool,
    ) -> Rows:
        """Returns those of the newest `window` rows that are tasks from `since` on; the options are `context` and its like."""
        parent, step = history.column("parent"), history.column("step")
        ids = np.flatnonzero(history.oks & (parent >= 0))
        ids = ids[history.oks[parent[ids]] & (step[ids] > step[parent[ids]])]
        newest = ids[-window:]
        return cls(history, space, interval, newest[newest >= since], categories, **options)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def parents(self) -> np.ndarray:
        """The tasks that the segments began from; shape (n,)."""
        parents: np.ndarray = self.history.column("parent")[self.ids]
        return parents

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the numeric inputs, the context first."""
        numbers = (self.space.names[i] for i in ModelColumns.of(self.space).numeric)
        return (SCORE_BEFORE, *numbers) if self.context else tuple(numbers)

    @cached_property
    def scores(self) -> np.ndarray:
        """The scores of all tasks of the history; with `robust`, `without_lost`."""
        scores = self.history.scores
        return without_lost(scores, np.unique(np.concatenate([self.ids, self.parents]))) if self.robust else scores

    @cached_property
    def gains(self) -> np.ndarray:
        """The score gained per step; shape (n,)."""
        with np.errstate(over="ignore"):
            gains: np.ndarray = (self.scores[self.ids] - self.scores[self.parents]) / self.steps
        return gains

    @cached_property
    def scale(self) -> tuple[float, float]:
        """Mean and standard deviation of the winsorised gains; the latter is 0 if they are all equal, up to rounding."""
        clipped = self._clipped
        ids = self.ids[self.gains == clipped] if self.robust else self.ids
        size = np.abs(self.scores[ids]).max(initial=0) / max(int(self.steps.max(initial=1)), 1)
        if not np.isfinite(clipped).all():
            return 0.0, 0.0
        _, power = np.frexp(np.abs(clipped).max(initial=0))  # scaled by a power of two: squares neither overflow nor vanish
        shrunk = np.ldexp(clipped, -power)
        mean, sd = float(np.ldexp(shrunk.mean(), power)), float(np.ldexp(shrunk.std(), power))
        return mean, sd if sd > 1e-12 * size else 0.0

    @cached_property
    def steps(self) -> np.ndarray:
        """The steps that each segment trained; shape (n,)."""
        step = self.history.column("step")
        trained: np.ndarray = step[self.ids] - step[self.parents]
        return trained

    @property
    def targets(self) -> np.ndarray:
        """The gains, winsorised and standardised; shape (n,)."""
        mean, sd = self.scale
        return ((self._clipped - mean) / sd).round(ROUND_DIGITS) if sd else np.zeros(len(self.ids))

    @cached_property
    def _clipped(self) -> np.ndarray:
        return winsorised(self.gains, int(self.shared_noise))

    @property
    def noise(self) -> np.ndarray | None:
        """The covariance of the noise of the gains, in units of the noise of one gain over one interval; None: independent.

        A gain is the difference of two noisy scores. The score that ends one segment begins the next one, so the noise of both
        gains has opposite signs there, and siblings share the noise of their parent's score. A tenth of the noise belongs to the
        segment itself. Shape (n, n).
        """
        if not self.shared_noise:
            return None
        scores, places = np.unique(np.concatenate([self.ids, self.parents]), return_inverse=True)
        n = len(self.ids)
        length = self.steps / (self.interval or float(np.median(self.steps)))
        differences = np.zeros((n, len(scores)))
        differences[np.arange(n), places[:n]] = 1 / length
        differences[np.arange(n), places[n:]] = -1 / length
        shared: np.ndarray = (1 - OWN_NOISE) / 2 * (differences @ differences.T) + OWN_NOISE * np.eye(n)
        return shared

    def inputs(self, ids: np.ndarray) -> Inputs:
        """Returns the inputs of these tasks: the state of their parents, with their own hyperparameters."""
        parents = self.history.column("parent")[ids]
        units = self.history.encoded(self.space)[ids]
        return self.at(parents, units)

    def at(self, parents: np.ndarray, units: np.ndarray) -> Inputs:
        """Returns the inputs of segments that start from `parents` (-1: from nothing); units (m, d) are codes of the space."""
        columns = ModelColumns.of(self.space)
        numeric = units[:, columns.numeric]
        if self.context:
            numeric = np.concatenate([self._contexts(parents)[:, None], numeric], 1)
        return Inputs(self._times(parents), numeric.round(ROUND_DIGITS + 3), units[:, self.categories].astype(int))

    def _times(self, parents: np.ndarray) -> np.ndarray:
        if self.interval is None:
            return np.where(parents >= 0, self._depths[parents], 0.0)
        steps = np.where(parents >= 0, self.history.column("step")[parents], 0)
        times: np.ndarray = (steps / self.interval).round(ROUND_DIGITS)
        return times

    @cached_property
    def _depths(self) -> np.ndarray:
        """The number of segments along the lineage up to the end of each task; shape (tasks,)."""
        depth = np.zeros(self.history.n + 1)
        steps = self.history.column("steps")
        for id, parent in enumerate(self.history.column("parent").tolist()):
            depth[id] = depth[parent] + (steps[id] > 0)
        return depth[:-1]

    @cached_property
    def _span(self) -> tuple[float, float]:
        """The 2 % and 98 % quantiles of the scores before the segments and of the current ones."""
        befores = self.history.scores_of(self.parents)
        heads = self.history.standing()
        now = self.history.scores_of(heads[heads >= 0])
        low, high = _quantiles(np.concatenate([befores, now[np.isfinite(now)]]))
        return float(low), float(high)

    def _contexts(self, parents: np.ndarray) -> np.ndarray:
        low, high = self._span
        scores = np.where(parents >= 0, self.history.scores[parents], low)
        if not 1e-12 * max(abs(low), abs(high)) < high - low < np.inf:
            return np.full(len(parents), 0.5)
        return np.clip((scores - low) / (high - low), -0.5, 1.5).round(ROUND_DIGITS)


def winsorised(values: np.ndarray, least: int = 0) -> np.ndarray:
    """Returns the values, clipped to their 2 % and 98 % quantiles; with `least`, that many values or more on each side."""
    cut = max(least, int(np.ceil(0.02 * len(values))))
    if least and len(values) > 2 * cut + 1:
        ordered = np.sort(values)
        clipped: np.ndarray = np.clip(values, ordered[cut], ordered[-1 - cut])
        return clipped
    return np.clip(values, *_quantiles(values)) if len(values) else values


def _quantiles(values: np.ndarray) -> np.ndarray:
    """Returns the 2 % and 98 % quantiles; they are not finite if the numbers are too large to subtract."""
    with np.errstate(over="ignore", invalid="ignore"):
        quantiles: np.ndarray = np.percentile(values, [2, 98])
    return quantiles


def pending(history: History, replaced: frozenset[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns (parents, tasks whose hyperparameters they use) of all segments that run, or are about to go on unchanged.

    A busy seat counts with its pending task, also with an evaluation. An idle seat that is neither finished nor among the
    `replaced` seats goes on from its newest result with the same hyperparameters.
    """
    heads = history.heads()
    seats = np.array([seat for seat in range(len(heads)) if heads[seat] >= 0 and seat not in replaced], int)
    heads = heads[seats]
    open = history.column("told")[heads] >= history.lines
    parents = np.where(open, history.column("parent")[heads], heads)
    healthy = np.where(parents >= 0, history.oks[parents], open)
    idle = ~open & healthy & ~finished(history, heads)
    keep = open | idle
    return parents[keep], heads[keep]
