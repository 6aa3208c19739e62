"""Curves: the score over the steps, along the ancestry of every final member and seat by seat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from poptrain.core import History, Result
from poptrain.core.brief import in_lines
from poptrain.log.reader import Record
from poptrain.views.columns import Points, StepScore, results, sources
from poptrain.views.index import about, best_id, history_of, result_of
from poptrain.views.sources import of_run


@dataclass(frozen=True)
class Mark:
    """An exploit on a curve: the point at which the lineage moved from the donor's seat to the member's."""

    step: int
    score: float
    task: int  # the first after the copy
    member: int
    donor: int

    __repr__ = in_lines


@dataclass(frozen=True)
class Curve:
    """The score along one ancestry, from its root to `task`."""

    member: int
    task: int
    score: float
    points: tuple[StepScore, ...]  # (step, score), steps never decreasing
    marks: tuple[Mark, ...]

    __repr__ = in_lines


@dataclass(frozen=True)
class SeatCurve:
    """What happened on one member's seat, in the order of time: a new piece begins where other weights were taken over."""

    member: int
    pieces: tuple[tuple[StepScore, ...], ...]

    __repr__ = in_lines


@dataclass(frozen=True)
class Curves:
    """Scores have the user's sign."""

    metric: str
    mode: str
    best: Curve | None  # of the best result of the run
    members: tuple[Curve, ...]  # of what every member ended with, by seat
    seats: tuple[SeatCurve, ...]

    __repr__ = in_lines


@of_run
def curves(record: Record) -> Curves:
    """Returns the learning curves of a run."""
    history = history_of(record)
    metric, mode = about(record)
    best = best_id(record, history)
    found = results(history)
    points = Points.of(history, found)
    return Curves(
        metric=metric,
        mode=mode,
        best=None if best is None else curve_of(history, points, best),
        members=tuple(curve_of(history, points, id, seat) for seat, id in history.finals().items()),
        seats=_seats(history, points, found),
    )


def curve_of(history: History, points: Points, id: int, member: int | None = None) -> Curve:
    """Returns the curve of the ancestry of one reported task; `points` are those of the run."""
    descent = history.descent(id)
    seats, before = history.column("member")[descent], sources(history, descent)
    moved = np.flatnonzero((before >= 0) & (history.column("member")[before] != seats))
    marks: list[Mark] = []
    for ancestor, source in zip(np.array(descent)[moved].tolist(), before[moved].tolist(), strict=True):
        task, result = history.task(ancestor), result_of(history, source)
        if not task.evaluator:
            marks.append(Mark(result.step, result.score, ancestor, task.member, history.task(source).member))
    member = history.task(id).member if member is None else member
    return Curve(member, id, result_of(history, id).score, tuple(points.along(descent)), tuple(marks))


LOG = 20.0  # ratio of the largest and smallest loss from which the axis is logarithmic
MOST = 1e307  # the largest score that a linear axis can show
FAR = 5.0  # times the range of all other scores from which the first scores may leave the picture


def drawable(scores: Iterable[float]) -> list[float]:
    """Returns the finite scores, each within what an axis can span: the difference of two may be more than a float holds."""
    return [min(max(score, -MOST), MOST) for score in scores if isfinite(score)]


def curves_extent(view: Curves) -> tuple[float, float, bool]:
    """Returns the lowest and highest score to draw, and whether to draw them on a log axis.

    All lineages are visible; of the dead ends, the worst 5 % may leave the picture. On a linear axis, so may the first scores of
    the lineages, if they are so far away that nothing else could be distinguished.
    """
    lines = [drawable(y for _, y in curve.points) for curve in (*view.members, *([view.best] if view.best else []))]
    kept = [y for line in lines for y in line]
    other = drawable(y for seat in view.seats for piece in seat.pieces for _, y in piece)
    if not kept:
        return 0.0, 1.0, False
    tail = np.quantile(other, (0.05, 0.95)).tolist() if other else (kept[0], kept[0])
    low, high = min(min(kept), tail[0]), max(max(kept), tail[1])
    if view.mode == "min" and low > 0 and high > LOG * low:  # a loss that fell by an order of magnitude or more
        return low * (low / high) ** 0.05, high * (high / low) ** 0.05, True
    if (later := [y for line in lines for y in line[1:]]) and high - low > FAR * (max(later) - min(later)) > 0:
        low, high = min(later), max(later)
    pad = 0.05 * (high - low) or 0.05 * max(abs(high), 1.0)
    return low - pad, high + pad, False


def _seats(history: History, points: Points, found: Sequence[Result | None]) -> tuple[SeatCurve, ...]:
    pieces: dict[int, list[list[StepScore]]] = {seat: [] for seat in history.members()}
    first, all_points = points.first, points.points
    before, origin = history.column("prev").tolist(), sources(history).tolist()
    for id, result in enumerate(found):
        task = history.task(id)
        if result is None or result.error is not None or task.role in ("evaluator", "candidate"):
            continue
        own, source = pieces[task.member], origin[id]
        if not own or source < 0 or source != before[id]:
            start = None if source < 0 else result_of(history, source)
            own.append([] if start is None else [(start.step, start.score)])
        own[-1] += all_points[first[id] : first[id + 1]]
    return tuple(SeatCurve(seat, tuple(map(tuple, own))) for seat, own in pieces.items())
