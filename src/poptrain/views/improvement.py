"""Which of two seats improves faster: their smoothed curves since their weights were copied, and where these overlap.

The comparison is that of FIRE PBT (Dalibard & Jaderberg 2021, arXiv:2109.13800, section 3.1.1 and Figure 3); it can be made for
any two seats of any run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poptrain.core import History
from poptrain.core.brief import in_lines
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.log.reader import Record
from poptrain.views.index import about, history_of, points_of, result_of
from poptrain.views.sources import of_run


@dataclass(frozen=True)
class Piece:
    """The scores of one seat since its weights were copied, in the user's sign; the first is the score of the copy."""

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
    difference: float  # by how much the first improves faster; negative if the second does, 0 if it is not known
    p: float | None  # of "the first is not better", pair by pair over the overlap; None without one

    __repr__ = in_lines


@of_run
def faster(record: Record, first: int, second: int, step: int | None = None) -> Faster:
    """Returns which of two seats improves faster, as it was after `step` steps (default: at the end of the run).

    Raises:
        UsageError: a seat does not exist, or has no healthy result by then.
    """
    from poptrain.algorithms.fire import curves  # here, because it loads all algorithms, and the other views need none

    if first == second:
        raise UsageError(f"seats {first} and {second} are the same: pass two different seats.")
    history = history_of(record)
    (mine, here), (theirs, there) = (_points(history, seat, step) for seat in (first, second))
    a, b = (curves.TrainingCurve.of([history.sign * score for _, score in points]) for points in (mine, theirs))
    both = curves.overlap(a, b)
    metric, mode = about(record)
    return Faster(
        metric=metric,
        mode=mode,
        first=_piece(first, here, mine, history.sign * a.smoothed, both and (both.a, both.a + both.length)),
        second=_piece(second, there, theirs, history.sign * b.smoothed, both and (both.b, both.b + both.length)),
        difference=curves.best_score_diff(a, b),
        p=curves.curve_sign_test(a, b),
    )


def _piece(
    seat: int, evaluator: bool, points: list[tuple[int, float]], smoothed: np.ndarray, overlap: tuple[int, int] | None
) -> Piece:
    steps, scores = zip(*points, strict=True)
    return Piece(seat, evaluator, steps, scores, tuple(smoothed.tolist()), overlap)


def _points(history: History, seat: int, step: int | None) -> tuple[list[tuple[int, float]], bool]:
    """Returns the (step, score) of a seat since its weights were copied, and whether it is an evaluator's."""
    seats = np.flatnonzero(history.heads() >= 0).tolist()
    if isinstance(seat, bool) or not isinstance(seat, int) or seat not in seats:
        raise UsageError(f"seat {seat!r}: this run has {counted(len(seats), 'seat')}, 0 to {max(seats, default=0)}.")
    id = history.head(seat)
    while id >= 0 and (not history.ok(id) or (step is not None and history.end(id) > step)):
        id = history.previous(id)
    if id < 0:
        raise UsageError(f"seat {seat} has no healthy result{'' if step is None else f' by step {step}'} to compare.")
    evaluator, points = history.task(id).evaluator, points_of(history, id)
    while (source := history.source(id)) is not None:
        if not _goes_on(history, source, id):
            before = result_of(history, source)
            return [(int(before.step), float(before.score)), *points], evaluator
        id = source
        points = points_of(history, id) + points
    return points, evaluator


def _goes_on(history: History, source: int, id: int) -> bool:
    """True if a task continues the curve of its source: on the same seat, or handed over by an evaluator."""
    task, before = history.task(id), history.task(source)
    return before.member == task.member or (before.evaluator and not task.evaluator)
