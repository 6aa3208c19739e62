"""What an executor is given: its configuration's protocol, the context that it is opened with, and where each task starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from poptrain.core import Carry, Hparams, Result, Task
from poptrain.core.protocols import Executor
from poptrain.trainable import AnyTrainable, in_directories

KeepError = Callable[[str, str], None]  # takes the name and the text of a traceback


@runtime_checkable
class ExecutorConfig(Protocol):
    """Describes an executor, as ``run(executor=…)`` takes it: usually a frozen dataclass that holds the options.

    A configuration that cannot train everything also has a method `check`: see `CheckingConfig`. If it has no option
    `timeout`, it may have a text `overdue`: what to do about a task that takes too long.
    """

    def open(self, context: Context) -> Executor:
        """Returns the running executor. It may still be starting its workers; `wait` then waits for them."""
        ...


@runtime_checkable
class CheckingConfig(ExecutorConfig, Protocol):
    """An `ExecutorConfig` that checks what it is asked to train before the run starts."""

    def check(self, trainable: object) -> None:
        """Raises a `UsageError` if this executor cannot be started here, or cannot train `trainable`.

        Args:
            trainable: in any form that the user may write; `as_trainable` turns it into one of four.
        """
        ...


class MemberStore(Protocol):
    """What an executor of single members needs of a `core.protocols.Store`; that class documents the methods."""

    def commit(self, name: str, carry: Carry, *, task: int, member: int, step: int) -> str: ...

    def stage(self, name: str) -> Path: ...

    def commit_staged(self, name: str, *, task: int, member: int, step: int) -> str: ...

    def read(self, ref: str) -> Carry: ...

    def path(self, ref: str) -> Path: ...


class PopulationStore(MemberStore, Protocol):
    """What an executor of whole populations needs of a `core.protocols.Store`."""

    def commit_population(
        self,
        name: str,
        carry: Carry,
        lanes: int,
        *,
        tasks: Sequence[int] = (),
        members: Sequence[int] = (),
        steps: Sequence[int] = (),
    ) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Start:
    """Where a task starts and how its checkpoint is named: all that a worker must know in addition to the task."""

    name: str  # of the checkpoint that this attempt commits
    step: int = 0  # lineage step at which the task begins
    parent: str | None = None  # reference of the checkpoint that it continues
    teacher: str | None = None  # reference of the checkpoint that it distils from
    budget: int | None = None  # lineage steps of the whole training; None: unknown
    teacher_hparams: Hparams | None = None  # with which the teacher was trained: its architecture may be another


@dataclass(frozen=True)
class Context:
    """What an executor is given: everything but the tasks."""

    trainable: AnyTrainable
    metric: str
    store: PopulationStore  # where carries are committed and read
    result: Callable[[int], Result | None]  # returns the result of a task, with its checkpoint and step; None while pending
    lanes: int = 1  # the most tasks that are ever pending
    static: tuple[str, ...] = ()  # names of static hyperparameters
    epoch: int = 1  # counts the processes that wrote the run; part of every checkpoint name, so that no name is used twice
    keep_error: KeepError = lambda name, text: None  # keeps tracebacks for the user
    outputs: Path | None = None  # directory for what members print, for executors that capture it
    budget: int | None = None  # lineage steps of the whole training of a member; None: unknown
    resident: int | None = None  # the most members that a worker keeps in memory; None: see `warm`
    hparams: Callable[[int], Hparams] | None = None  # returns those of a task; None: all have the same static ones

    def name(self, task: Task, attempt: int = 1) -> str:
        """Returns the checkpoint name of one attempt at a task."""
        return f"m{task.member:03d}-t{task.id:06d}-{self.epoch}.{attempt}"

    def group(self, task: Task, attempt: int = 1) -> str:
        """Returns the checkpoint name of a population whose first task this is."""
        return f"g-t{task.id:06d}-{self.epoch}.{attempt}"

    def ref(self, task: Task) -> str | None:
        """Returns the reference of the checkpoint that the task starts from."""
        return None if task.parent is None else self._result_of(task.parent).checkpoint

    def begin(self, task: Task) -> int:
        """Returns the lineage step at which the task begins: its parent's, else its teacher's, else 0."""
        source = task.parent if task.parent is not None else task.teacher
        return 0 if source is None else self._result_of(source).step

    def start(self, task: Task, attempt: int = 1) -> Start:
        """Returns where one attempt at a task starts."""
        name, taught = self.name(task, attempt), self.teacher_hparams(task)
        return Start(name, self.begin(task), self.ref(task), self.teacher(task), self.budget, taught)

    def teacher(self, task: Task) -> str | None:
        """Returns the reference of the checkpoint that the task learns from."""
        return None if task.teacher is None else self._result_of(task.teacher).checkpoint

    def teacher_hparams(self, task: Task) -> Hparams | None:
        """Returns the hyperparameters of the task that a task learns from, which decide the shape of its carry."""
        if task.teacher is None:
            return None
        return task.hparams if self.hparams is None else self.hparams(task.teacher)

    def warm(self, workers: int = 1) -> int:
        """Returns the most members that each of some workers keeps in memory while they wait for their turn.

        An object of a user's class may fill a GPU or hold a simulator, and a command has a copy of its files: a worker keeps
        one. Carries are arrays: a worker keeps those of all members that it trains, if they are spread evenly.
        """
        if self.resident is not None:
            return self.resident
        return 1 if in_directories(self.trainable) else -(-self.lanes // workers)

    def _result_of(self, id: int) -> Result:
        result = self.result(id)
        if result is None:
            raise ValueError(f"task {id} has no result yet, so that no other task can start from it")
        return result
