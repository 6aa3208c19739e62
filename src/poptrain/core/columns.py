"""The storage of `History`: one array for each column, indexed by task id, doubled when it is full."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Sequence

import numpy as np

from poptrain.core.facts import Line, Lost, Result, Task, results_of, tasks_of
from poptrain.core.gathered import LOST, NEVER, RESULTS, TASKS, Floats, Gathered, Ints, gathered
from poptrain.core.lines import Lines
from poptrain.core.ranges import Ranges

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
        self.tasks: list[Task | None] = []  # None: it is in its line of `facts`, and was not needed yet
        self.results: list[Result | None] = []  # None: there is none, or as for tasks
        self.facts = Lines()
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
    def of(cls, lines: Sequence[Line], known: Gathered | None = None) -> Columns:
        """Returns the storage of lines of which each is known to follow the ones before: ten times as fast as `append`.

        Args:
            known: what the lines tell, if it was gathered before; else it is gathered from their facts.
        """
        new = cls()
        new.facts = Lines(lines)
        if not new.facts:
            return new
        told = gathered(new.facts) if known is None else known
        are_tasks, are_results = told.kind == TASKS, told.kind == RESULTS
        new.size_at.frombytes(np.cumsum(np.where(are_tasks, told.size, 0)).tobytes())
        new.told_at.frombytes(np.cumsum(np.where(are_results, told.size, 0)).tobytes())
        if n := len(told.id):
            new._fill(told, n)
            new._fill_seats(told.task)
        for number, task in zip(np.flatnonzero(told.kind == LOST)[::-1].tolist(), told.lost[::-1].tolist(), strict=True):
            new.lost[task] = number  # the first one counts
        return new

    def _fill(self, told: Gathered, n: int) -> None:
        """Fills what one task, or its result, tells. Its facts are looked up when they are needed."""
        self.tasks, self.results = [None] * n, [None] * n
        room = max(len(self.score), 1 << (n - 1).bit_length())
        self.score = np.full(room, np.nan)
        for name, value in _EMPTY.items():
            setattr(self, name, np.full(room, value, np.int64))
        for name in ("member", "steps", "parent", "teacher"):
            getattr(self, name)[:n] = getattr(told, name)
        self.issued[:n], self.told[told.task] = told.lines_of(TASKS), told.lines_of(RESULTS)
        self.step[told.task], self.score[told.task] = told.step, told.score

    def task(self, id: int) -> Task:
        """Returns a task."""
        if (task := self.tasks[id]) is None:
            self._make(self.issued[id])
            task = self.tasks[id]
        return task  # type: ignore[return-value]

    def result(self, id: int) -> Result | None:
        """Returns the result of a task; None if it has none."""
        if (result := self.results[id]) is None and self.told[id] != NEVER:
            self._make(self.told[id])
            result = self.results[id]
        return result

    def _make(self, line: int) -> None:
        """Keeps the facts of a line at their tasks, where `of` left them out."""
        for fact in self.facts[line]:
            if isinstance(fact, Task):
                self.tasks[fact.id] = fact
            elif isinstance(fact, Result):
                self.results[fact.task] = fact

    def _has_result(self, id: int) -> bool:
        return self.results[id] is not None or bool(self.told[id] != NEVER)

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
        if not (0 <= id < self.n and self._has_result(id)):
            raise ValueError(f"lost({id}): task {id} has no result")
        self.lost[id] = min(self.lost[id], self.lines)

    def _issue(self, task: Task) -> None:
        id, seat = task.id, task.member
        if id != self.n or seat < 0:
            raise ValueError(f"task {id} of member {seat}: expected the next id, {self.n}, and a seat from 0")
        for source in (task.parent, task.teacher):
            if source is not None and not (0 <= source < id and self._has_result(source)):
                raise ValueError(f"task {id}: its parent or teacher {source} has no result")
        if id == len(self.score):
            self._grow()
        if seat >= len(self.head):
            self.head = np.concatenate([self.head, np.full(max(seat + 1, len(self.head)), -1, np.int64)])
        self.width = max(self.width, seat + 1)
        before = int(self.head[seat])
        if before >= 0 and not self._has_result(before):
            raise ValueError(f"task {id}: member {seat} is still busy with task {before}")
        self.member[id], self.prev[id], self.issued[id], self.steps[id] = seat, before, self.lines, task.steps
        self.parent[id] = -1 if task.parent is None else task.parent
        self.teacher[id] = -1 if task.teacher is None else task.teacher
        self.head[seat] = id
        self.tasks.append(task)
        self.results.append(None)

    def _report(self, result: Result) -> None:
        id = result.task
        if not 0 <= id < self.n or self._has_result(id):
            raise ValueError(f"result of task {id}: the task is not pending")
        self.results[id] = result
        self.told[id], self.step[id] = self.lines, result.step
        task, before = self.task(id), int(self.prev[id])
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
                units[id] = space.encode(self.task(id).hparams)
            self.units[space] = (n, units)
        out = units[:n]
        out.flags.writeable = False
        return out
