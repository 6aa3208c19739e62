"""Adapters: each form of a trainable, as executors of single members start, train, store and load it.

Hyperparameters arrive flat, as the task holds them. A user's function or class receives them nested if their names have dots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from poptrain.checkpoints import carry as carries
from poptrain.core import Carry, Hparams, Metrics, Task
from poptrain.core.errors import MetricError, UsageError
from poptrain.core.warned import warn_user
from poptrain.executors.command.form import CommandForm
from poptrain.executors.context import MemberStore, Start
from poptrain.executors.hparam_columns import HparamColumns, hparam_columns
from poptrain.executors.outcome import error_line
from poptrain.executors.output import Output
from poptrain.executors.users_code import RaisedByUser, saving, users_code
from poptrain.space import nested
from poptrain.trainable import AnyTrainable, Command, JaxTrainable, MemberClass, PopulationTrainable, Trainable

StateT = TypeVar("StateT")  # what a form trains: a carry, or an object of the user's class
Progress = tuple[float, float] | None  # the part of a distillation that a chunk covers


class Form(Protocol[StateT]):
    """A trainable as executors of single members use it. Nothing but the form itself looks into a state."""

    def fresh(self, hparams: Hparams, seed: int) -> StateT:
        """Returns the state of a new member."""
        ...

    def train(self, state: StateT, hparams: Hparams, steps: int, seed: int) -> tuple[StateT, Metrics]:
        """Returns the state after `steps` more steps, which may be the same object, and the metrics."""
        ...

    def distill(
        self, state: StateT, teacher: StateT, hparams: Hparams, steps: int, seed: int, progress: Progress
    ) -> tuple[StateT, Metrics]:
        """Returns what `train` does, for steps that also learn from the state of a teacher."""
        ...

    def save(self, store: MemberStore, name: str, state: StateT, task: Task, step: int) -> str:
        """Commits the state, and returns the reference of the checkpoint."""
        ...

    def load(self, store: MemberStore, ref: str, hparams: Hparams, seed: int) -> StateT:
        """Returns the state in a checkpoint, ready to be trained."""
        ...

    def opened(self, store: MemberStore, ref: str, task: Task) -> Carry:
        """Returns what a checkpoint holds, as the user who asks for it knows it."""
        ...

    def expect(self, state: StateT, start: Start) -> None:
        """Informs a state about the task that comes: its name, its first step, and the steps of the whole training."""
        ...

    def close(self, state: StateT) -> None:
        """Frees what a state holds that is not memory. It is not used again."""
        ...


class _Arrays:
    """What forms have in common whose states are arrays: nothing to inform, nothing to close."""

    def expect(self, state: Carry, start: Start) -> None:
        """Does nothing: a carry does not look ahead."""

    def close(self, state: Carry) -> None:
        """Does nothing: a carry holds only memory."""


@runtime_checkable
class DistillingMember(Protocol):
    """A user's object that can also learn from another one."""

    def distill(self, teacher: object, hp: Hparams, steps: int, progress: Progress) -> Metrics: ...


@runtime_checkable
class RestoredMember(Protocol):
    """A user's class that makes an object and its state in one step, for example with the seed that its ancestor had."""

    def restored(self, hp: Hparams, seed: int, directory: Path) -> MemberClass: ...  # a class method


@runtime_checkable
class PlanningMember(Protocol):
    """A user's object with schedules over the whole training."""

    def set_budget(self, steps: int | None) -> None: ...


@runtime_checkable
class ClosingMember(Protocol):
    """A user's object that holds more than memory, such as simulators or processes."""

    def close(self) -> None: ...


@runtime_checkable
class DistillingPopulation(Protocol):
    """A population trainable whose members can also learn from teachers."""

    def distill(
        self, carry: Carry, teacher: Carry, hparams: HparamColumns, steps: int, seeds: np.ndarray, progress: Progress
    ) -> tuple[Carry, Metrics]: ...


@runtime_checkable
class RestoringPopulation(Protocol):
    """A population trainable that stores carries in another shape than the user's functions know."""

    def restored(self, lane: Carry, hparams: HparamColumns) -> Carry: ...


def form_of(trainable: AnyTrainable, static: Sequence[str] = (), output: Output | None = None, metric: str = "") -> Form[Any]:
    """Returns the form that runs `trainable` one member at a time.

    Args:
        static: the names of its static hyperparameters.
        output: keeps what the programs of commands print; None: they print where this process prints.
        metric: the key of the score, for messages about what a command printed; "": nothing is trained.
    """
    if isinstance(trainable, Trainable):
        return FunctionForm(trainable)
    if isinstance(trainable, type):
        return ClassForm(trainable)
    if isinstance(trainable, Command):
        return CommandForm(trainable, output, metric)
    if isinstance(trainable, JaxTrainable):
        from poptrain.executors.vmapped import population_of  # JAX is imported only for those who use it

        return LaneForm(population_of(trainable), tuple(static))
    return LaneForm(trainable, tuple(static))


@dataclass(frozen=True)
class FunctionForm(_Arrays):
    """A carry, and the functions of a `Trainable`."""

    trainable: Trainable

    def fresh(self, hparams: Hparams, seed: int) -> Carry:
        with users_code():
            return self.trainable.init(nested(hparams), seed)

    def train(self, state: Carry, hparams: Hparams, steps: int, seed: int) -> tuple[Carry, Metrics]:
        with users_code():
            returned = self.trainable.train(state, nested(hparams), steps, seed)
        return checked_pair(returned)

    def distill(
        self, state: Carry, teacher: Carry, hparams: Hparams, steps: int, seed: int, progress: Progress
    ) -> tuple[Carry, Metrics]:
        if self.trainable.distill is None:
            raise UsageError("this task distils from a teacher, but the trainable has no distill function.")
        with users_code():
            returned = self.trainable.distill(state, teacher, nested(hparams), steps, seed, progress)
        return checked_pair(returned, "distill")

    def save(self, store: MemberStore, name: str, state: Carry, task: Task, step: int) -> str:
        return store.commit(name, state, task=task.id, member=task.member, step=step)

    def load(self, store: MemberStore, ref: str, hparams: Hparams, seed: int) -> Carry:
        return store.read(ref)

    def opened(self, store: MemberStore, ref: str, task: Task) -> Carry:
        return store.read(ref)


@dataclass(frozen=True)
class ClassForm:
    """An object of a user's class, which saves and loads itself."""

    cls: type[MemberClass]

    def fresh(self, hparams: Hparams, seed: int) -> MemberClass:
        with users_code():
            return self.cls(nested(hparams), seed)

    def train(self, state: MemberClass, hparams: Hparams, steps: int, seed: int) -> tuple[MemberClass, Metrics]:
        with users_code():
            return state, state.train(nested(hparams), steps)

    def distill(
        self, state: MemberClass, teacher: MemberClass, hparams: Hparams, steps: int, seed: int, progress: Progress
    ) -> tuple[MemberClass, Metrics]:
        if not isinstance(state, DistillingMember):
            raise UsageError(f"this task distils from a teacher, but {self.cls.__qualname__} has no distill method.")
        with users_code():
            return state, state.distill(teacher, nested(hparams), steps, progress)

    def save(self, store: MemberStore, name: str, state: MemberClass, task: Task, step: int) -> str:
        directory = store.stage(name)
        with saving(directory):
            state.save(directory)
        return store.commit_staged(name, task=task.id, member=task.member, step=step)

    def load(self, store: MemberStore, ref: str, hparams: Hparams, seed: int) -> MemberClass:
        path = store.path(ref)
        if isinstance(self.cls, RestoredMember):
            with users_code():
                return self.cls.restored(nested(hparams), seed, path)
        state = self.fresh(hparams, seed)
        try:
            with users_code():
                state.load(path)
        except BaseException:
            self.close(state)
            raise
        return state

    def opened(self, store: MemberStore, ref: str, task: Task) -> Carry:
        return self.load(store, ref, task.hparams, task.seed)

    def expect(self, state: MemberClass, start: Start) -> None:
        if isinstance(state, PlanningMember):
            with users_code():
                state.set_budget(start.budget)

    def close(self, state: MemberClass) -> None:
        if isinstance(state, ClosingMember):
            try:
                with users_code():
                    state.close()
            except RaisedByUser as raised:
                warn_user(f"close() of {self.cls.__qualname__} raised {error_line(raised.error)}.", RuntimeWarning)


@dataclass(frozen=True)
class LaneForm(_Arrays):
    """One member of a population trainable: a population of one. Stored carries have no leading axis."""

    trainable: PopulationTrainable
    static: tuple[str, ...] = ()

    def fresh(self, hparams: Hparams, seed: int) -> Carry:
        with boundary(self.trainable):
            return self.trainable.init(self._columns(hparams), _seeds(seed))

    def train(self, state: Carry, hparams: Hparams, steps: int, seed: int) -> tuple[Carry, Metrics]:
        with boundary(self.trainable):
            returned = self.trainable.train(state, self._columns(hparams), steps, _seeds(seed))
        state, metrics = checked_pair(returned)
        return state, _first(metrics)

    def distill(
        self, state: Carry, teacher: Carry, hparams: Hparams, steps: int, seed: int, progress: Progress
    ) -> tuple[Carry, Metrics]:
        population = distilling(self.trainable)
        with boundary(self.trainable):
            returned = population.distill(state, teacher, self._columns(hparams), steps, _seeds(seed), progress)
        state, metrics = checked_pair(returned, "distill")
        return state, _first(metrics)

    def save(self, store: MemberStore, name: str, state: Carry, task: Task, step: int) -> str:
        return store.commit(name, carries.lane(state, 0), task=task.id, member=task.member, step=step)

    def load(self, store: MemberStore, ref: str, hparams: Hparams, seed: int) -> Carry:
        lane = carries.stacked(store.read(ref))
        with boundary(self.trainable):
            return self.trainable.gather([(lane, 0)])

    def opened(self, store: MemberStore, ref: str, task: Task) -> Carry:
        lane = store.read(ref)
        if not isinstance(self.trainable, RestoringPopulation):
            return lane
        return self.trainable.restored(lane, self._columns(task.hparams))

    def _columns(self, hparams: Hparams) -> HparamColumns:
        """Returns the hyperparameters of a population of one; a value that no array can hold is passed as it is."""
        texts = tuple(name for name, value in hparams.items() if isinstance(value, (str, type(None))))
        return hparam_columns([hparams], (*self.static, *texts))


def distilling(trainable: PopulationTrainable) -> DistillingPopulation:
    """Returns the trainable, as one whose members can learn from teachers; raises a `UsageError` if they can't."""
    if not isinstance(trainable, DistillingPopulation):
        raise UsageError("this task distils from a teacher, but the trainable has no distill method.")
    return trainable


def boundary(trainable: PopulationTrainable) -> AbstractContextManager[None]:
    """Returns the boundary around the methods of a population; there is none around poptrain's own methods of a vmapped pair."""
    return nullcontext() if type(trainable).__module__ == "poptrain.executors.vmapped" else users_code()


def _seeds(seed: int) -> np.ndarray:
    return np.array([seed], np.uint32)


def _first(metrics: Metrics) -> Metrics:
    if not isinstance(metrics, Mapping):
        raise MetricError(f"train returned {type(metrics).__name__} as metrics, expected a mapping.")
    try:
        return {key: value[0] for key, value in metrics.items()}
    except (TypeError, LookupError) as error:
        raise MetricError(f"train returned metrics that are not one entry for each member ({error}).") from error


def checked_pair(returned: object, function: str = "train") -> tuple[Carry, Metrics]:
    """Returns what the user's `function` returned, if it is a pair."""
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise MetricError(f"{function} returned {type(returned).__name__}, expected the pair (carry, metrics).")
    return returned
