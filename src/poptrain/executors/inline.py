"""Inline: one task after another in this process. It needs no setup, and it cannot stop a step that hangs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from poptrain.core import Result, Task
from poptrain.executors.adapters import form_of
from poptrain.executors.context import Context
from poptrain.executors.members import Members
from poptrain.executors.output import Output


@dataclass(frozen=True)
class Inline:
    """The default executor: trains one member after another in this process."""

    overdue: ClassVar[str] = "pt.executors.Processes(timeout=…) ends such tasks by itself"

    def open(self, context: Context) -> InlineExecutor:
        """Returns the running executor."""
        return InlineExecutor(context)


class InlineExecutor:
    """Performs the queued tasks in order, one at each `wait`."""

    trains_in_wait = True

    def __init__(self, context: Context):
        self._context = context
        form = form_of(context.trainable, context.static, Output(context.outputs), context.metric)
        self._members = Members(form, context.metric, context.store, context.keep_error, context.warm())
        self._queue: deque[Task] = deque()

    def submit(self, tasks: Sequence[Task]) -> None:
        self._queue.extend(tasks)

    def wait(self) -> list[Result]:
        task = self._queue.popleft()
        return [self._members.perform(task, self._context.start(task))]

    def drain(self, seconds: float) -> Iterator[list[Result]]:
        """Yields nothing: no task is running between two calls of `wait`."""
        return iter(())

    def close(self) -> None:
        self._queue.clear()
        self._members.close()
