"""What every executor is opened with, and the contract that it fulfils."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from poptrain.core import Result, Task


class Executor(Protocol):
    """Turns tasks into results; knows no algorithm. There is no cancel: to stop a seat is to give it no next task."""

    def submit(self, tasks: Sequence[Task]) -> None:
        """Queues tasks, first in, first out; never blocks."""
        ...

    def wait(self) -> list[Result]:
        """Returns at least one result, each with its checkpoint durable; raises only on infrastructure failure."""
        ...

    def close(self) -> None:
        """Ends the workers. Results that were not returned are lost; their tasks are pending when the run is resumed."""
        ...


@dataclass(frozen=True, slots=True)
class Start:
    """Where a task starts and what its checkpoint will be called: all that a worker must know besides the task."""

    name: str  # of the checkpoint that this attempt commits
    step: int = 0  # lineage step at which the task begins
    parent: str | None = None  # reference of the checkpoint that it continues
    teacher: str | None = None  # reference of the checkpoint that it distils from


@dataclass(frozen=True)
class Context:
    """The surroundings of an executor: everything but the tasks."""

    trainable: Any  # one of the forms of `poptrain.trainable`
    metric: str
    store: Any  # where carries are committed and read
    result: Callable[[int], Result | None]  # the result of a told task: its checkpoint and step; None while pending
    lanes: int = 1  # the most tasks ever pending
    static: tuple[str, ...] = ()  # names of static hyperparameters
    epoch: int = 1  # of the writer: part of every checkpoint name, so that no name is used twice
    keep_error: Callable[[str, str], None] = lambda name, text: None  # where tracebacks go
    outputs: Path | None = None  # where the output of members goes, for executors that capture it

    def name(self, task: Task, attempt: int = 1) -> str:
        """Returns the checkpoint name of one attempt at a task."""
        return f"m{task.member:03d}-t{task.id:06d}-{self.epoch}.{attempt}"

    def group(self, task: Task, attempt: int = 1) -> str:
        """Returns the checkpoint name of a population whose first task this is."""
        return f"g-t{task.id:06d}-{self.epoch}.{attempt}"

    def ref(self, task: Task) -> str | None:
        """Returns the checkpoint that the task starts from."""
        return None if task.parent is None else self.result(task.parent).checkpoint

    def begin(self, task: Task) -> int:
        """Returns the lineage step at which the task begins: its parent's, else its teacher's, else 0."""
        source = task.parent if task.parent is not None else task.teacher
        return 0 if source is None else self.result(source).step

    def start(self, task: Task, attempt: int = 1) -> Start:
        """Returns where one attempt at a task starts."""
        teacher = None if task.teacher is None else self.result(task.teacher).checkpoint
        return Start(self.name(task, attempt), self.begin(task), self.ref(task), teacher)
