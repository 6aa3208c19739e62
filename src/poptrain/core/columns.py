"""The storage of `History`: one array for each column, indexed by task id, doubled when it is full."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable, Sequence
from itertools import chain, compress
from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from poptrain.core.facts import Line, Lost, Result, Task, results_of, tasks_of
from poptrain.core.ranges import Ranges

if TYPE_CHECKING:
    import numpy.typing as npt

# As text: `numpy.typing` is slow to import, and only type checkers need it.
Ints: TypeAlias = "npt.NDArray[np.int64]"
Floats: TypeAlias = "npt.NDArray[np.float64]"
Bools: TypeAlias = "npt.NDArray[np.bool_]"

NEVER = np.iinfo(np.int64).max

# Columns of integers, and what they hold before anything was written into them.
_EMPTY = dict.fromkeys(("member", "parent", "teacher", "prev", "steps", "step", "spent"), -1) | dict.fromkeys(
    ("issued", "told", "lost"), NEVER
)


class Columns:
    """The storage that histories share. Only the longest of them appends to it."""

    member: Ints
    parent: Ints
    teacher: Ints
    prev: Ints  # the task before it on the same seat
    steps: Ints
    issued: Ints  # line of the task
    told: Ints  # line of its result
    lost: Ints  # line from which its checkpoint counts as lost
    step: Ints
    spent: Ints  # steps that the seat has trained up to this task
    score: Floats

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.results: list[Result | None] = []
        self.facts: list[Line] = []
        self.size_at = array("q", [0])  # tasks after the first k lines
        self.told_at = array("q", [0])  # results in the first k lines
        self.memo: dict[Hashable, tuple[int, object]] = {}
        self.units: dict[Ranges, tuple[int, Floats]] = {}
        self.width = 0
        self.head = np.full(8, -1, np.int64)  # by seat: its newest task
        self.score = np.full(16, np.nan)
        for name, value in _EMPTY.items():
            setattr(self, name, np.full(16, value, np.int64))

    @classmethod
    def of(cls, facts: Sequence[Line]) -> Columns:
        """Returns the storage of lines of which each is known to follow the ones before: ten times as fast as `append`."""
        new = cls()
        new.facts = list(facts)
        kinds = [type(line[0]) for line in new.facts]
        sizes = np.fromiter(map(len, new.facts), np.int64, len(kinds))
        are_tasks, are_results = (np.fromiter([each is kind for each in kinds], bool, len(kinds)) for kind in (Task, Result))
        new.tasks = list(chain.from_iterable(compress(map(tasks_of, new.facts), are_tasks)))
        results = list(chain.from_iterable(compress(map(results_of, new.facts), are_results)))
        new.size_at.frombytes(np.cumsum(np.where(are_tasks, sizes, 0)).tobytes())
        new.told_at.frombytes(np.cumsum(np.where(are_results, sizes, 0)).tobytes())
        if new.tasks:
            ids = new._fill(results)
            new.issued[: new.n] = np.repeat(np.flatnonzero(are_tasks), sizes[are_tasks])
            new.told[ids] = np.repeat(np.flatnonzero(are_results), sizes[are_results])
            new._fill_seats(ids)
        for number in np.flatnonzero(~are_tasks & ~are_results)[::-1].tolist():
            new.lost[[lost.task for lost in new.facts[number] if isinstance(lost, Lost)]] = number  # the first one counts
        return new

    def _fill(self, results: list[Result]) -> Ints:
        """Fills what one task, or its result, tells, and returns the tasks of the results."""
        n, tasks = self.n, self.tasks
        room = max(len(self.score), 1 << (n - 1).bit_length())
        self.score = np.full(room, np.nan)
        for name, value in _EMPTY.items():
            setattr(self, name, np.full(room, value, np.int64))
        self.results = [None] * n
        for result in results:
            self.results[result.task] = result
        ids = _whole(map(_TASK_OF, results), len(results))
        self.step[ids] = _whole(map(_STEP, results), len(results))
        scores = np.fromiter(map(_SCORE, results), float, len(results))
        lost = np.fromiter((result.error is not None or result.checkpoint is None for result in results), bool, len(results))
        scores[lost | ~np.isfinite(scores)] = np.nan
        self.score[ids] = scores
        self.member[:n], self.steps[:n] = _whole(map(_MEMBER, tasks), n), _whole(map(_STEPS, tasks), n)
        self.parent[:n] = _whole([-1 if task.parent is None else task.parent for task in tasks], n)
        self.teacher[:n] = _whole([-1 if task.teacher is None else task.teacher for task in tasks], n)
        return ids

    def _fill_seats(self, done: Ints) -> None:
        """Fills what depends on the tasks before on the same seat; `done` holds the tasks with a result."""
        n, member, step = self.n, self.member[: self.n], self.step
        by_seat = np.argsort(member, kind="stable")
        seats = member[by_seat]
        first = np.append(True, seats[1:] != seats[:-1])  # of its seat
        last = np.append(first[1:], True)
        self.prev[by_seat[~first]] = by_seat[np.flatnonzero(~first) - 1]
        self.width = int(seats[-1]) + 1
        self.head = np.full(max(self.width, 8), -1, np.int64)
        self.head[seats[last]] = by_seat[last]
        trained = np.zeros(n, np.int64)
        trained[done] = step[done]
        source = np.where(self.parent[:n] >= 0, self.parent[:n], self.teacher[:n])
        trained -= np.where(source >= 0, step[source], 0)
        del source  # each of these is 8 MB for a million tasks
        trained[self.told[:n] == NEVER] = 0
        trained = np.maximum(trained, 0, out=trained)[by_seat]
        begins = np.flatnonzero(first)
        if np.add.reduceat(trained, begins, dtype=float).max() >= NEVER:
            raise OverflowError("the steps of one seat do not fit into 64 bits")
        total = np.cumsum(trained)  # along each seat, after all seats before; modulo 2^64
        total -= np.repeat((total - trained)[begins], np.diff(begins, append=n))
        self.spent[by_seat] = total
        self.spent[:n][self.told[:n] == NEVER] = -1

    @property
    def lines(self) -> int:
        return len(self.facts)

    @property
    def newest(self) -> int:
        """The number of lines after which `head` holds the newest tasks."""
        return len(self.facts)

    @property
    def n(self) -> int:
        return len(self.tasks)

    def append(self, line: Line) -> None:
        """Adds one line; raises ValueError if it cannot follow the ones before."""
        first = line[0]
        if isinstance(first, Lost):
            self._lose(first)
        for task in tasks_of(line):
            self._issue(task)
        for result in results_of(line):
            self._report(result)
        self.facts.append(line)
        self.size_at.append(self.n)
        self.told_at.append(self.told_at[-1] + len(results_of(line)))

    def _lose(self, lost: Lost) -> None:
        id = lost.task
        if not (0 <= id < self.n and self.results[id] is not None):
            raise ValueError(f"lost({id}): task {id} has no result")
        self.lost[id] = min(self.lost[id], self.lines)

    def _issue(self, task: Task) -> None:
        id, seat = task.id, task.member
        if id != self.n or seat < 0:
            raise ValueError(f"task {id} of member {seat}: expected the next id, {self.n}, and a seat from 0")
        for source in (task.parent, task.teacher):
            if source is not None and not (0 <= source < id and self.results[source] is not None):
                raise ValueError(f"task {id}: its parent or teacher {source} has no result")
        if id == len(self.score):
            self._grow()
        if seat >= len(self.head):
            self.head = np.concatenate([self.head, np.full(max(seat + 1, len(self.head)), -1, np.int64)])
        self.width = max(self.width, seat + 1)
        before = int(self.head[seat])
        if before >= 0 and self.results[before] is None:
            raise ValueError(f"task {id}: member {seat} is still busy with task {before}")
        self.member[id], self.prev[id], self.issued[id], self.steps[id] = seat, before, self.lines, task.steps
        self.parent[id] = -1 if task.parent is None else task.parent
        self.teacher[id] = -1 if task.teacher is None else task.teacher
        self.head[seat] = id
        self.tasks.append(task)
        self.results.append(None)

    def _report(self, result: Result) -> None:
        id = result.task
        if not 0 <= id < self.n or self.results[id] is not None:
            raise ValueError(f"result of task {id}: the task is not pending")
        self.results[id] = result
        self.told[id], self.step[id] = self.lines, result.step
        task, before = self.tasks[id], int(self.prev[id])
        source = task.parent if task.parent is not None else task.teacher
        trained = result.step - (0 if source is None else int(self.step[source]))
        self.spent[id] = (0 if before < 0 else int(self.spent[before])) + max(trained, 0)
        self.score[id] = result.score if result.healthy else np.nan

    def _grow(self) -> None:
        self.score = np.concatenate([self.score, np.full(len(self.score), np.nan)])
        for name, value in _EMPTY.items():
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.full(len(old), value, np.int64)]))

    def encoded(self, space: Ranges, n: int) -> Floats:
        """Returns the hyperparameters of the first `n` tasks in the unit cube; shape (n, d), read-only."""
        filled, units = self.units.get(space, (0, np.empty((16, len(space)))))
        if filled < n:
            if n > len(units):
                units = np.concatenate([units, np.empty((max(n - len(units), len(units)), len(space)))])
            for id in range(filled, n):
                units[id] = space.encode(self.tasks[id].hparams)
            self.units[space] = (n, units)
        out = units[:n]
        out.flags.writeable = False
        return out


def _whole(values: Iterable[int], n: int) -> Ints:
    """Returns `n` whole numbers as an array, twice as fast as numpy's own way for a list."""
    return np.fromiter(values, np.int64, n)


_TASK_OF, _STEP, _SCORE, _MEMBER, _STEPS = map(attrgetter, ("task", "step", "score", "member", "steps"))
