"""The storage behind `History`: one array a column, indexed by task id, doubled when it is full."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from poptrain.core.facts import Line, Result, Task

NEVER = np.iinfo(np.int64).max


class Columns:
    """The storage that histories share: appended to only by the longest of them."""

    _INT = ("member", "parent", "teacher", "prev", "steps", "issued", "told", "lost", "step", "spent")

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.results: list[Result | None] = []
        self.facts: list[Line] = []
        self.size_at = [0]
        self.memo: dict[Hashable, tuple[int, Any]] = {}
        self.units: dict[Any, tuple[int, np.ndarray]] = {}
        self.width = 0
        self.head = np.full(8, -1, np.int64)
        self.score = np.full(16, np.nan)
        for name in self._INT:
            setattr(self, name, np.full(16, NEVER if name in ("issued", "told", "lost") else -1, np.int64))

    @property
    def lines(self) -> int:
        return len(self.facts)

    @property
    def n(self) -> int:
        return len(self.tasks)

    def append(self, line: Line) -> None:
        first = line[0]
        if isinstance(first, Task):
            for task in line:
                self._issue(task)
        elif isinstance(first, Result):
            for result in line:
                self._tell(result)
        else:
            if not (0 <= first.task < self.n and self.results[first.task] is not None):
                raise ValueError(f"lost({first.task}): no result of task {first.task} was told")
            self.lost[first.task] = min(self.lost[first.task], self.lines)
        self.facts.append(line)
        self.size_at.append(self.n)

    def _issue(self, task: Task) -> None:
        id, seat = task.id, task.member
        if id != self.n or seat < 0:
            raise ValueError(f"task {id} of member {seat}: expected the next id, {self.n}, and a seat from 0")
        for role in (task.parent, task.teacher):
            if role is not None and not (0 <= role < id and self.results[role] is not None):
                raise ValueError(f"task {id}: its parent or teacher {role} was not told")
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

    def _tell(self, result: Result) -> None:
        id = result.task
        if not 0 <= id < self.n or self.results[id] is not None:
            raise ValueError(f"result of task {id}: not pending")
        self.results[id] = result
        self.told[id], self.step[id] = self.lines, result.step
        task, before = self.tasks[id], int(self.prev[id])
        source = task.parent if task.parent is not None else task.teacher
        trained = result.step - (0 if source is None else int(self.step[source]))
        self.spent[id] = (0 if before < 0 else int(self.spent[before])) + max(trained, 0)
        self.score[id] = result.score if result.healthy else np.nan

    def _grow(self) -> None:
        self.score = np.concatenate([self.score, np.full(len(self.score), np.nan)])
        for name in self._INT:
            old = getattr(self, name)
            fill = NEVER if name in ("issued", "told", "lost") else -1
            setattr(self, name, np.concatenate([old, np.full(len(old), fill, np.int64)]))

    def encoded(self, space: Any, n: int) -> np.ndarray:
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
