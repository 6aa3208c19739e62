"""Curves: the score over the steps, along the ancestry of every final member and seat by seat."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from poptrain.core import Result
from poptrain.log.reader import Record
from poptrain.views.facts import Facts

Point = tuple[int, float]


@dataclass(frozen=True)
class Mark:
    """An exploit on a curve: the point at which the lineage moved from the donor's seat to the member's."""

    step: int
    score: float
    task: int  # the first after the copy
    member: int
    donor: int


@dataclass(frozen=True)
class Curve:
    """The score along one ancestry, from its root to `task`."""

    member: int
    task: int
    score: float
    points: tuple[Point, ...]  # (step, score), steps never decreasing
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class SeatCurve:
    """What happened on one member's seat, in the order of time: a new piece begins where other weights were taken over."""

    member: int
    pieces: tuple[tuple[Point, ...], ...]


@dataclass(frozen=True)
class Curves:
    """Scores have the user's sign."""

    metric: str
    mode: str
    best: Curve | None  # of the best result of the run
    members: tuple[Curve, ...]  # of what every member ended with, by seat
    seats: tuple[SeatCurve, ...]


def curves(record: Record) -> Curves:
    """Returns the learning curves of a run."""
    facts = Facts.of(record)
    return Curves(
        metric=str(record.run.get("metric", "score")),
        mode=str(record.run.get("mode", "max")),
        best=None if facts.best is None else curve_of(facts, facts.best),
        members=tuple(curve_of(facts, id, seat) for seat, id in facts.finals().items()),
        seats=_seats(facts),
    )


def curve_of(facts: Facts, id: int, member: int | None = None) -> Curve:
    """Returns the curve of the ancestry of one told task."""
    points: list[Point] = []
    marks: list[Mark] = []
    for ancestor in facts.ancestry(id):
        task, source = facts.tasks[ancestor], facts.source(ancestor)
        if source is not None and facts.tasks[source].member != task.member and not task.evaluator:
            result = facts.results[source]
            marks.append(Mark(result.step, result.score, ancestor, task.member, facts.tasks[source].member))
        points += _points(facts.results[ancestor])
    member = facts.tasks[id].member if member is None else member
    return Curve(member, id, facts.results[id].score, tuple(points), tuple(marks))


def extent(view: Curves) -> tuple[float, float, bool]:
    """Returns the lowest and highest score to draw, and whether on a log axis: the lineages, and the dead ends except for
    their worst tail."""
    kept = [y for curve in (*view.members, *([view.best] if view.best else [])) for _, y in curve.points if isfinite(y)]
    other = [y for seat in view.seats for piece in seat.pieces for _, y in piece if isfinite(y)]
    if not kept:
        return 0.0, 1.0, False
    tail = np.quantile(other, (0.05, 0.95)).tolist() if other else (kept[0], kept[0])
    low, high = min(min(kept), tail[0]), max(max(kept), tail[1])
    if view.mode == "min" and low > 0 and high > 100 * low:  # a loss that fell by orders of magnitude
        return low * (low / high) ** 0.05, high * (high / low) ** 0.05, True
    pad = 0.05 * (high - low) or 0.05 * max(abs(high), 1.0)
    return low - pad, high + pad, False


def _seats(facts: Facts) -> tuple[SeatCurve, ...]:
    pieces: dict[int, list[list[Point]]] = {seat: [] for seat in facts.members()}
    for task, result in zip(facts.tasks, facts.results, strict=True):
        if result is None or result.error is not None or task.evaluator:
            continue
        own, source = pieces[task.member], facts.source(task.id)
        if not own or source != facts.previous[task.id]:
            before = None if source is None else facts.results[source]
            own.append([] if before is None else [(before.step, before.score)])
        own[-1] += _points(result)
    return tuple(SeatCurve(seat, tuple(map(tuple, own))) for seat, own in pieces.items())


def _points(result: Result) -> list[Point]:
    return [(int(step), float(score)) for step, score in result.curve] or [(result.step, result.score)]
