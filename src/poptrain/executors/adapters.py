"""The forms of a trainable, as executors of single members use them; see `segment.Form`.

Hyperparameters arrive flat, as the task holds them; a user's function or class gets them nested if their names have dots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from poptrain.checkpoints import carry as carries
from poptrain.core import Hparams, Metrics, Task
from poptrain.core.errors import MetricError, UsageError
from poptrain.space import nested
from poptrain.trainable import JaxTrainable, Trainable


def form_of(trainable: Any, static: Sequence[str] = ()) -> FunctionForm | ClassForm | LaneForm:
    """Returns the form that runs `trainable` one member at a time; `static` names its static hyperparameters."""
    if isinstance(trainable, Trainable):
        return FunctionForm(trainable)
    if isinstance(trainable, type):
        return ClassForm(trainable)
    if isinstance(trainable, JaxTrainable):
        from poptrain.executors.vmapped import population_of  # JAX is imported only for those who use it

        return LaneForm(population_of(trainable), tuple(static))
    return LaneForm(trainable, tuple(static))


@dataclass(frozen=True)
class FunctionForm:
    """A carry and the functions of `Trainable`."""

    trainable: Trainable

    def fresh(self, hparams: Hparams, seed: int) -> Any:
        return self.trainable.init(nested(hparams), seed)

    def train(self, state: Any, hparams: Hparams, steps: int, seed: int) -> tuple[Any, Metrics]:
        return _pair(self.trainable.train(state, nested(hparams), steps, seed))

    def distill(self, state: Any, teacher: Any, hparams: Hparams, steps: int, seed: int, progress: Any) -> tuple[Any, Metrics]:
        if self.trainable.distill is None:
            raise UsageError("this task distils from a teacher, but the trainable has no distill function.")
        return _pair(self.trainable.distill(state, teacher, nested(hparams), steps, seed, progress))

    def save(self, store: Any, name: str, state: Any, task: Task, step: int) -> str:
        return store.commit(name, state, task=task.id, member=task.member, step=step)

    def load(self, store: Any, ref: str, hparams: Hparams, seed: int) -> Any:
        return store.read(ref)

    def opened(self, store: Any, ref: str, task: Task) -> Any:
        return store.read(ref)


@dataclass(frozen=True)
class ClassForm:
    """An object of a user's class, which saves and loads itself."""

    cls: type

    def fresh(self, hparams: Hparams, seed: int) -> Any:
        return self.cls(nested(hparams), seed)

    def train(self, state: Any, hparams: Hparams, steps: int, seed: int) -> tuple[Any, Metrics]:
        return state, state.train(nested(hparams), steps)

    def distill(self, state: Any, teacher: Any, hparams: Hparams, steps: int, seed: int, progress: Any) -> tuple[Any, Metrics]:
        if not hasattr(state, "distill"):
            raise UsageError(f"this task distils from a teacher, but {self.cls.__qualname__} has no distill method.")
        return state, state.distill(teacher, nested(hparams), steps, progress)

    def save(self, store: Any, name: str, state: Any, task: Task, step: int) -> str:
        state.save(store.stage(name))
        return store.commit_staged(name, task=task.id, member=task.member, step=step)

    def load(self, store: Any, ref: str, hparams: Hparams, seed: int) -> Any:
        state = self.cls(nested(hparams), seed)
        state.load(store.path(ref))
        return state

    def opened(self, store: Any, ref: str, task: Task) -> Any:
        return self.load(store, ref, task.hparams, task.seed)


@dataclass(frozen=True)
class LaneForm:
    """One member of a population trainable: a population of one. Stored carries have no leading axis."""

    trainable: Any
    static: tuple[str, ...] = ()

    def fresh(self, hparams: Hparams, seed: int) -> Any:
        return self.trainable.init(self._columns(hparams), _seeds(seed))

    def train(self, state: Any, hparams: Hparams, steps: int, seed: int) -> tuple[Any, Metrics]:
        state, metrics = _pair(self.trainable.train(state, self._columns(hparams), steps, _seeds(seed)))
        return state, {key: value[0] for key, value in metrics.items()}

    def distill(self, state: Any, teacher: Any, hparams: Hparams, steps: int, seed: int, progress: Any) -> tuple[Any, Metrics]:
        if not hasattr(self.trainable, "distill"):
            raise UsageError("this task distils from a teacher, but the trainable has no distill method.")
        state, metrics = self.trainable.distill(state, teacher, self._columns(hparams), steps, _seeds(seed), progress)
        return state, {key: value[0] for key, value in metrics.items()}

    def save(self, store: Any, name: str, state: Any, task: Task, step: int) -> str:
        return store.commit(name, carries.lane(state, 0), task=task.id, member=task.member, step=step)

    def load(self, store: Any, ref: str, hparams: Hparams, seed: int) -> Any:
        return self.trainable.gather([(carries.stacked(store.read(ref)), 0)])

    def opened(self, store: Any, ref: str, task: Task) -> Any:
        lane = store.read(ref)
        return self.trainable.restored(lane, self._columns(task.hparams)) if hasattr(self.trainable, "restored") else lane

    def _columns(self, hparams: Hparams) -> dict[str, Any]:
        """Returns a population of one's hyperparameters; what cannot be an array is passed as it is."""
        texts = tuple(name for name, value in hparams.items() if isinstance(value, (str, type(None))))
        return columns([hparams], (*self.static, *texts))


def columns(rows: list[Hparams], static: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns hyperparameters as a population takes them: arrays of shape (P,), static ones as the value they share."""
    return {name: rows[0][name] if name in static else np.array([row[name] for row in rows]) for name in rows[0]}


def _seeds(seed: int) -> Any:
    return np.array([seed], np.uint32)


def _pair(returned: Any) -> tuple[Any, Metrics]:
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise MetricError(f"train returned {type(returned).__name__}, expected the pair (carry, metrics).")
    return returned
