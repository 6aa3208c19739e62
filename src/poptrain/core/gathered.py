"""What some lines of facts tell, in columns: it can be gathered from facts, and from what a log decodes instead of facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, compress
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from poptrain.core.facts import Json, Line, Lost, Result, Task

if TYPE_CHECKING:
    import numpy.typing as npt

# As text: `numpy.typing` is slow to import, and only type checkers need it.
Ints: TypeAlias = "npt.NDArray[np.int64]"
Floats: TypeAlias = "npt.NDArray[np.float64]"
Bools: TypeAlias = "npt.NDArray[np.bool_]"
Bytes: TypeAlias = "npt.NDArray[np.uint8]"

NEVER = np.iinfo(np.int64).max
TASKS, RESULTS, LOST = range(3)
_KINDS: dict[type, int] = {Task: TASKS, Result: RESULTS, Lost: LOST}


class Gathered(NamedTuple):
    """The fields of some lines that a history keeps as columns, in the order of the lines."""

    kind: Ints  # by line: TASKS, RESULTS or LOST
    size: Ints  # by line: its number of facts
    id: Ints  # by task, as all up to `teacher`
    member: Ints
    steps: Ints
    parent: Ints  # -1 for none
    teacher: Ints  # -1 for none
    task: Ints  # by result, as all up to `score`
    step: Ints
    score: Floats  # NaN where the result is not healthy
    lost: Ints  # by line of a lost checkpoint: its task

    def lines_of(self, kind: int) -> Ints:
        """Returns the line of each fact of a kind; lines are counted from 0."""
        are = self.kind == kind
        return np.repeat(np.flatnonzero(are), self.size[are])

    def with_sign(self, sign: int) -> Gathered:
        """Returns the same with scores times `sign`."""
        return self if sign > 0 else self._replace(score=sign * self.score)


def gather(kinds: Sequence[int], lines: Sequence[Sequence[Json]]) -> Gathered:
    """Returns the columns of lines. Their facts have the fields of facts, and may be of any class.

    Args:
        kinds: of each line: TASKS, RESULTS or LOST.
        lines: the facts of each line.
    """
    tasks, results, lost = (
        list(chain.from_iterable(compress(lines, [each == kind for each in kinds]))) for kind in (TASKS, RESULTS, LOST)
    )
    score = np.fromiter([each.score if each.error is None and each.checkpoint is not None else np.nan for each in results], float)
    score[~np.isfinite(score)] = np.nan
    return Gathered(
        kind=_whole(kinds),
        size=_whole(map(len, lines)),
        id=_whole(map(_ID, tasks)),
        member=_whole(map(_MEMBER, tasks)),
        steps=_whole(map(_STEPS, tasks)),
        parent=_whole([-1 if task.parent is None else task.parent for task in tasks]),
        teacher=_whole([-1 if task.teacher is None else task.teacher for task in tasks]),
        task=_whole(map(_TASK, results)),
        step=_whole(map(_STEP, results)),
        score=score,
        lost=_whole(map(_TASK, lost)),
    )


def gathered(lines: Sequence[Line]) -> Gathered:
    """Returns the columns of lines of facts."""
    lines = list(lines)
    return gather([_KINDS[type(line[0])] for line in lines], lines)


def joined(parts: Sequence[Gathered]) -> Gathered:
    """Returns the columns of all lines of parts that follow each other."""
    return Gathered(*map(np.concatenate, zip(*parts, strict=True))) if len(parts) > 1 else parts[0]


def _whole(values: Iterable[int]) -> Ints:
    """Returns whole numbers as an array, twice as fast as numpy's own way for a list."""
    return np.fromiter(values, np.int64)


_ID, _MEMBER, _STEPS, _TASK, _STEP = map(attrgetter, ("id", "member", "steps", "task", "step"))
