"""The order of the facts of a run: which line may follow the lines before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from poptrain.core.facts import Line, Lost, Result, Task, results_of, tasks_of
from poptrain.core.gathered import NEVER, RESULTS, TASKS, Bytes, Gathered, Ints
from poptrain.core.wellformed import Malformed, malformed


class Order:
    """Knows which tasks are pending, and refuses a line of facts that cannot follow.

    The reader of a log and its writer share it: what would be refused when the log is read is never written.
    """

    def __init__(self) -> None:
        self._told = bytearray()  # by task: 1 if it has a result
        self._busy: dict[int, int] = {}  # seat -> its pending task
        self._seat: list[int] = []  # by task

    def check(self, line: Line) -> None:
        """Raises a ValueError that names the fact and the field if a line cannot follow."""
        kind = type(line[0])
        for fact in line:
            if type(fact) is not kind:
                raise ValueError(f"one line holds {kind.__name__} and {type(fact).__name__}")
            if (wrong := malformed(fact)) is not None and (wrong := _malformed_here(fact)) is not None:
                got = repr(wrong.got)
                got = got if len(got) <= 80 else f"{got[:79]}…"
                raise ValueError(f"{_named(fact)} has {wrong.field}={got}, expected {wrong.expected}")
        self.check_place(line)

    def check_place(self, line: Line) -> None:
        """Raises a ValueError if a line of well-formed facts of one kind cannot follow."""
        kind = type(line[0])
        if kind is Result:
            self._check_results(results_of(line))
        elif kind is Task:
            self._check_tasks(tasks_of(line))
        elif isinstance(line[0], Lost) and not self._has_result(line[0].task):
            raise ValueError(f"lost({line[0].task}): task {line[0].task} has no result")

    def follow(self, line: Line) -> None:
        """Adds a line of well-formed facts of one kind; raises a ValueError, and adds nothing, if it cannot follow."""
        first, told = line[0], self._told
        if type(first) is Result and len(line) == 1:  # nearly all lines: one result, as it came
            id = first.task
            if not 0 <= id < len(told) or told[id]:
                raise ValueError(f"result of task {id}: the task is not pending")
            told[id] = 1
            del self._busy[self._seat[id]]
        elif not self._fits(line):
            self.check_place(line)
            self.take(line)

    def _fits(self, line: Line) -> bool:
        """Adds a line of well-formed tasks or results, and returns True, if it can follow: `check_place` and `take`, faster."""
        told, busy = self._told, self._busy
        if results := results_of(line):
            ids = [result.task for result in results]
            if len(set(ids)) < len(ids) or max(ids) >= len(told) or any([told[id] for id in ids]):
                return False
            for id in ids:
                told[id] = 1
                del busy[self._seat[id]]
            return True
        n, tasks = len(told), tasks_of(line)
        seats = [task.member for task in tasks]
        sources = [task.parent for task in tasks if task.parent is not None]
        sources += [task.teacher for task in tasks if task.teacher is not None]
        if (
            not tasks
            or [task.id for task in tasks] != [*range(n, n + len(tasks))]
            or len(set(seats)) < len(seats)
            or not busy.keys().isdisjoint(seats)
            or (sources and (max(sources) >= n or not all([told[source] for source in sources])))
        ):
            return False
        told.extend(bytes(len(tasks)))
        self._seat.extend(seats)
        busy.update(zip(seats, range(n, n + len(tasks)), strict=True))
        return True

    def follow_all(self, new: Gathered) -> bool:
        """Adds lines of well-formed tasks and results, and returns True, if each can follow; else it adds nothing."""
        n, busy, ids = len(self._told), self._busy, new.task
        issued, answered, own = new.lines_of(TASKS), new.lines_of(RESULTS), ids >= n
        if not np.array_equal(new.id, np.arange(n, n + len(issued))):
            return False
        if len(ids) and (ids.min() < 0 or ids.max() >= n + len(issued) or len(set(ids.tolist())) < len(ids)):
            return False
        older, line = ids[~own], np.full(len(issued), NEVER)
        line[ids[own] - n] = answered[own]
        late = dict(zip(older.tolist(), answered[~own].tolist(), strict=True))

        def told_at(tasks: Ints) -> Ints:
            return _told_at(tasks, np.frombuffer(self._told or b"", np.uint8), line, late)

        by_seat = np.argsort(new.member, kind="stable")
        seats = new.member[by_seat]
        first = np.append(True, seats[1:] != seats[:-1])[: len(seats)]
        before = by_seat.copy()
        before[1:] = by_seat[:-1] + n
        before[first] = [busy.get(seat, -1) for seat in seats[first].tolist()]
        waits = before >= 0
        sources = [(source[source >= 0], new.id[source >= 0]) for source in (new.parent, new.teacher)]
        if (
            any(self._told[task] for task in late)
            or (issued[ids[own] - n] >= answered[own]).any()
            or (told_at(before[waits]) >= issued[by_seat[waits]]).any()
            or any((source >= task).any() or (told_at(source) >= issued[task - n]).any() for source, task in sources)
        ):
            return False
        self._told.extend(bytes(len(issued)))
        np.frombuffer(self._told, np.uint8)[ids] = 1
        for task in late:
            del busy[self._seat[task]]
        self._seat.extend(new.member.tolist())
        last = by_seat[np.append(first[1:], True)[: len(seats)]]
        busy.update({int(new.member[at]): n + int(at) for at in last[line[last] == NEVER]})
        return True

    def take(self, line: Line) -> None:
        """Adds a line that was checked."""
        kind = type(line[0])
        if kind is Result:
            for result in results_of(line):
                self._told[result.task] = 1
                del self._busy[self._seat[result.task]]
        elif kind is Task:
            tasks = tasks_of(line)
            self._told.extend(bytes(len(tasks)))
            self._seat.extend([task.member for task in tasks])
            self._busy.update([(task.member, task.id) for task in tasks])

    def _has_result(self, id: int) -> bool:
        return 0 <= id < len(self._told) and self._told[id] == 1

    def _check_tasks(self, tasks: tuple[Task, ...]) -> None:
        busy, seats = self._busy, set[int]()
        for id, task in enumerate(tasks, len(self._told)):
            if task.id != id:
                raise ValueError(f"task {task.id} of member {task.member}: expected the next id, {id}")
            seat = task.member
            if seat in busy or seat in seats:
                raise ValueError(f"task {id}: member {seat} is still busy with another task")
            seats.add(seat)
            for source in (task.parent, task.teacher):
                if source is not None and not self._has_result(source):
                    raise ValueError(f"task {id}: its parent or teacher {source} has no result")

    def _check_results(self, results: tuple[Result, ...]) -> None:
        told, seen = self._told, set()
        for result in results:
            id = result.task
            if not 0 <= id < len(told) or told[id] or id in seen:
                raise ValueError(f"result of task {id}: the task is not pending")
            seen.add(id)


def _told_at(tasks: Ints, older: Bytes, line: Ints, late: Mapping[int, int]) -> Ints:
    """Returns the line of each task's result: -1 if it was before some new lines, NEVER if there is none.

    Args:
        older: by older task, 1 if it has a result. The bytes that such an array looks into cannot grow while it exists.
        line: by new task, the line of its result.
        late: the lines of the new results of older tasks.
    """
    new, found = tasks >= len(older), np.full(len(tasks), -1)
    found[new] = line[tasks[new] - len(older)]
    pending = np.flatnonzero(~new)[older[tasks[~new]] == 0]
    found[pending] = [late.get(task, NEVER) for task in tasks[pending].tolist()]
    return found


def _malformed_here(fact: Task | Result | Lost) -> Malformed | None:
    """Returns `malformed` of a fact, whose role or kind may be one that only another version knows."""
    if isinstance(fact, Task) and isinstance(fact.role, str):
        return malformed(replace(fact, role=""))
    if isinstance(fact, Result) and isinstance(fact.kind, str):
        return malformed(replace(fact, kind="failed"))
    return malformed(fact)


def _named(fact: Task | Result | Lost) -> str:
    return f"task {fact.id!r}"[:60] if isinstance(fact, Task) else f"the result of task {fact.task!r}"[:60]
