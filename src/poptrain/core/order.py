"""The order of the facts of a run: which line may follow the lines before it."""

from __future__ import annotations

from dataclasses import replace

from poptrain.core.facts import Line, Lost, Result, Task, results_of, tasks_of
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


def _malformed_here(fact: Task | Result | Lost) -> Malformed | None:
    """Returns `malformed` of a fact, whose role or kind may be one that only another version knows."""
    if isinstance(fact, Task) and isinstance(fact.role, str):
        return malformed(replace(fact, role=""))
    if isinstance(fact, Result) and isinstance(fact.kind, str):
        return malformed(replace(fact, kind="failed"))
    return malformed(fact)


def _named(fact: Task | Result | Lost) -> str:
    return f"task {fact.id!r}"[:60] if isinstance(fact, Task) else f"the result of task {fact.task!r}"[:60]
