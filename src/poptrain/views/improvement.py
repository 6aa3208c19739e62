"""Which of two improves faster: their curves since their weights were copied, smoothed, and where these overlap.

The comparison is that of FIRE PBT (Dalibard & Jaderberg 2021, arXiv:2109.13800, section 3.1.1 and Figure 3); it can be made for
any two seats of any run.
"""

from __future__ import annotations

from dataclasses import dataclass

from poptrain.algorithms.fire import curves
from poptrain.core.errors import UsageError
from poptrain.log.reader import Record
from poptrain.views.facts import Facts


@dataclass(frozen=True)
class Piece:
    """The scores of one seat since its weights were copied, the copied ones' score first; in the user's sign."""

    seat: int
    evaluator: bool
    steps: tuple[int, ...]
    scores: tuple[float, ...]
    smoothed: tuple[float, ...]
    overlap: tuple[int, int] | None  # first and last point of the overlap with the other


@dataclass(frozen=True)
class Faster:
    """The comparison of two pieces."""

    metric: str
    mode: str
    first: Piece
    second: Piece
    difference: float  # by how much the first improves faster; negative if the second does, 0 if nothing can be said
    p: float | None  # of "the first is not better", pair by pair over the overlap; None without one


def faster(record: Record, first: int, second: int, step: int | None = None) -> Faster:
    """Returns which of two seats improves faster, as it was after `step` steps (default: at the end of the run).

    Raises:
        UsageError: a seat does not exist, or has no healthy result by then.
    """
    facts = Facts.of(record)
    found = [_points(facts, seat, step) for seat in (first, second)]
    a, b = (curves.Curve.of([facts.sign * score for _, score in points]) for points, _ in found)
    both = curves.overlap(a, b)
    spans = [None, None] if both is None else [(both.a, both.a + both.length), (both.b, both.b + both.length)]
    pieces = []
    for seat, (points, evaluator), curve, span in zip((first, second), found, (a, b), spans, strict=True):
        smoothed = tuple((facts.sign * curve.smoothed).tolist())
        pieces.append(Piece(seat, evaluator, *(tuple(column) for column in zip(*points, strict=True)), smoothed, span))
    return Faster(
        metric=str(record.run.get("metric", "score")),
        mode=str(record.run.get("mode", "max")),
        first=pieces[0],
        second=pieces[1],
        difference=curves.best_score_diff(a, b),
        p=curves.sign_test(a, b),
    )


def _points(facts: Facts, seat: int, step: int | None) -> tuple[list[tuple[int, float]], bool]:
    """Returns the (step, score) of a seat since its weights were copied, and whether it is an evaluator's."""
    if isinstance(seat, bool) or not isinstance(seat, int) or seat not in facts.seats:
        raise UsageError(f"seat {seat!r}: this run has {len(facts.seats)} seats, 0 to {max(facts.seats, default=0)}.")
    id = facts.seats[seat].head
    while id >= 0 and (facts.results[id] is None or not facts.ok(id) or (step is not None and facts.end(id) > step)):
        id = facts.previous[id]
    if id < 0:
        raise UsageError(f"seat {seat} has no healthy result{'' if step is None else f' by step {step}'}: nothing to compare.")
    evaluator, points = facts.tasks[id].evaluator, []
    walk: int | None = id
    while walk is not None:
        result, source = facts.results[walk], facts.source(walk)
        own = [(int(at), float(score)) for at, score in result.curve] or [(int(result.step), float(result.score))]
        points = own + points
        if source is not None and not _goes_on(facts, source, walk):
            before = facts.results[source]
            return [(int(before.step), float(before.score)), *points], evaluator
        walk = source
    return points, evaluator


def _goes_on(facts: Facts, source: int, id: int) -> bool:
    """True if a task continues its source's curve: on its own seat, or handed over by an evaluator."""
    task, before = facts.tasks[id], facts.tasks[source]
    return before.member == task.member or (before.evaluator and not task.evaluator)
