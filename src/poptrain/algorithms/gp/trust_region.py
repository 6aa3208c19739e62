"""The trust region of BG-PBT (arXiv:2207.09405): suggestions stay near their parent, and how near depends on how they fare.

    numbers      |u_i - c_i| ≤ ½ L w_i,  w_i = l_i / geometric mean(l)     a box around the parent c                   (1)
    categories   at most L_c m of m categories differ from the parent's    a Hamming ball                              (2)
    after a round in which some members had suggested values and some did not:
        success: the best score of the round belongs to a suggestion; else failure                                     (3)
        3 successes in a row: L, L_c ← 1.5 L, 1.5 L_c;   10 failures: L, L_c ← L / 1.5, L_c / 1.5                       (4)
    restart, with L = 0.4 and without the rows so far:  L fell to its least, or no new best score for `patience` rounds  (5)

The state of a region is a fold over the log: a run that is resumed, or replayed, has the same one.

A *suggestion* is a segment whose hyperparameters differ from those of its parent, decided when the model had rows. A *round* of
an asynchronous run is as many finished segments as there are members.

Departures from the paper: the weights w_i are kept between ½ and 2; the box reaches the next level of a whole number or ordinal,
whatever L is, and the ball one category: otherwise parameters with few levels could never change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from poptrain.core import History, Line, Result, Task, Value
from poptrain.core.answering import answering_class
from poptrain.core.arguments import check_flag, check_number
from poptrain.core.errors import UsageError

MIN_ROWS = 3  # with fewer rows there is no model, and nothing is a suggestion
LEAST_WEIGHT, MOST_WEIGHT = 0.5, 2.0


class Region(NamedTuple):
    """The state of a trust region at one moment."""

    length: float  # L: width of the box, in units of each range
    share: float  # L_c: share of the categories that may differ from the parent's
    successes: int = 0  # in a row
    failures: int = 0  # in a row
    generation: int = 0  # restarts so far
    first: int = 0  # id of the first task whose segment the model learns from
    rows: int = 0  # segments that it can learn from
    best: float = -np.inf  # score of this generation
    stale: int = 0  # rounds without a new best score
    summit: tuple[float, int] = (-np.inf, -1)  # the highest gain per step of this generation, and its task
    summits: tuple[int, ...] = ()  # the tasks with the highest gains of former generations
    ended: tuple[int, ...] = ()  # finished tasks that no round has counted yet
    exact: bool = True  # see `TrustRegion`


@answering_class
@dataclass(frozen=True)
class TrustRegion:
    """The settings of a trust region; lengths are widths of a box in units of each parameter's range.

    `exact`: whole numbers and ordinals of more than 32 levels stay inside the box, and can always change by one level. False:
    they are rounded to the nearest level, which may lie outside by half a level, as in runs from before this option.
    """

    length: float = 0.4
    least: float = 0.15
    most: float = 1.0
    factor: float = 1.5
    successes: int = 3
    failures: int = 10
    patience: int = 15
    share: float = 1.0
    least_share: float = 0.1
    exact: bool = field(default=True, metadata={"absent": False})

    def __post_init__(self) -> None:
        for name in ("length", "least", "most", "factor", "share", "least_share"):
            check_number("TrustRegion", name, getattr(self, name), 0.0, 1e9)
        check_flag("TrustRegion", "exact", self.exact)
        self.check("TrustRegion")

    def check(self, what: str) -> None:
        """Raises a `UsageError` if a setting is out of range."""
        if not 0 < self.least <= self.length <= self.most:
            raise UsageError(
                f"{what}: trust_region has least={self.least!r}, length={self.length!r}, most={self.most!r}; "
                "expected numbers above 0 in this order."
            )
        if not self.least_share > 0:
            raise UsageError(f"{what}: trust_region has least_share={self.least_share!r}, expected a number above 0.")
        if not self.least_share <= self.share <= 1:
            raise UsageError(f"{what}: trust_region has share={self.share!r}, expected a number from {self.least_share!r} to 1.")
        if not self.factor > 1:
            raise UsageError(f"{what}: trust_region has factor={self.factor!r}, expected a number above 1.")
        for name, value in {"successes": self.successes, "failures": self.failures, "patience": self.patience}.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"{what}: trust_region has {name}={value!r}, expected a whole number from 1.")

    # -- its life ---------------------------------------------------------------------------------------------------------

    def now(self, history: History) -> Region:
        """Returns the region at the end of a history, for the decisions of one ask."""
        region = history.fold(self, Region(self.length, self.share, exact=self.exact), self.after)
        return self.closed(history, region, history.n) if self._complete(history, region) else region

    def after(self, region: Region, history: History, line: Line) -> Region:
        """Returns the region after one more line: a step of the fold."""
        if isinstance(line[0], Task):
            first = line[0].id
            before = history.at(history.lines - 1)
            return self.closed(history, region, first) if self._complete(before, region) else region
        return region._replace(ended=region.ended + tuple(fact.task for fact in line if isinstance(fact, Result)))

    def closed(self, history: History, region: Region, next_task: int) -> Region:
        """Returns the region after the round of its ended tasks."""
        trained = [id for id in sorted(region.ended) if is_row(history, id)]
        if not trained:
            return region._replace(ended=())
        scores = [history.score(id) for id in trained]
        suggested = [region.rows >= MIN_ROWS and changed(history, id) for id in trained]
        length, share, successes, failures = region.length, region.share, region.successes, region.failures
        collapsed = False
        if any(suggested) and not all(suggested):
            top = max(scores)
            if any(there and score == top for there, score in zip(suggested, scores, strict=True)):  # eq. (3)
                successes, failures = successes + 1, 0
            else:
                successes, failures = 0, failures + 1
            if successes == self.successes:  # eq. (4)
                length, share, successes = min(length * self.factor, self.most), min(share * self.factor, 1.0), 0
            elif failures == self.failures:
                length, failures = max(length / self.factor, self.least), 0
                share = max(share / self.factor, self.least_share)
                collapsed = length <= self.least
        stale = 0 if max(scores) > region.best else region.stale + 1
        summit = max([region.summit, *((gain_of(history, id), -id) for id in trained if id >= region.first)])
        summit = (summit[0], abs(summit[1]))
        if collapsed or stale >= self.patience:  # eq. (5)
            summits = region.summits + ((summit[1],) if np.isfinite(summit[0]) else ())
            return Region(self.length, self.share, 0, 0, region.generation + 1, next_task, summits=summits, exact=self.exact)
        rows = region.rows + sum(id >= region.first for id in trained)
        best = max(region.best, *scores)
        region = region._replace(length=length, share=share, successes=successes, failures=failures, ended=())
        return region._replace(rows=rows, best=best, stale=stale, summit=summit)

    def _complete(self, history: History, region: Region) -> bool:
        """True if the ended tasks are a round: no task is pending, or as many have ended as there are members."""
        return bool(region.ended) and (not len(history.open()) or len(region.ended) >= history.seats)


def check_trust_region(what: str, region: object) -> TrustRegion:
    """Returns the settings of a trust region; raises a `UsageError` if they are none, or out of range."""
    if not isinstance(region, TrustRegion):
        raise UsageError(f"{what}: trust_region={region!r}, expected pt.TrustRegion(length=0.4, …) or None.")
    region.check(what)
    return region


def is_row(history: History, id: int) -> bool:
    """True if a model can learn from a task: it trained from a healthy parent, and is healthy."""
    parent = history.task(id).parent
    return history.ok(id) and history.ok(parent) and history.step(id) > history.step(parent)


def gain_of(history: History, id: int) -> float:
    """Returns the score gained per step in a segment that `is_row`."""
    parent = history.task(id).parent
    assert parent is not None  # `is_row`
    return (history.score(id) - history.score(parent)) / (history.step(id) - history.step(parent))


def changed(history: History, id: int) -> bool:
    """True if a task does not train with the hyperparameters of its parent."""
    task = history.task(id)
    return task.parent is not None and task.hparams != history.task(task.parent).hparams


def widths(region: Region, lengths: Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns the width of the box for each column, L w_i of eq. (1), from the length-scales of the columns; shape (f,)."""
    logs = np.log(np.asarray(lengths, float))
    weights = np.clip(np.exp(logs - logs.mean()), LEAST_WEIGHT, MOST_WEIGHT) if len(logs) else np.ones(0)
    wide: np.ndarray = region.length * weights
    return wide


def flips(region: Region, categories: int) -> int:
    """Returns how many categories may differ from the parent's: floor(L_c m), at least 1; eq. (2)."""
    return max(1, int(region.share * categories + 1e-9)) if categories else 0


def noted(region: Region) -> dict[str, Value]:
    """Returns what the note of a suggestion states about the trust region."""
    return {
        "region length": region.length,
        "region share": region.share,
        "region successes": region.successes,
        "region failures": region.failures,
        "region": region.generation,
    }
