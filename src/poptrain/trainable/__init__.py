"""Trainables: the six forms that a user may write, and the one form that executors call.

======================  ================================================================================================
function                ``train(carry, hp, steps, seed) -> (carry, metrics)``; `carry` is None at the start
generator function      ``train(carry, hp, seed)`` yields ``(carry, metrics)`` after every step
class                   ``__init__(hp, seed)``, ``train(hp, steps) -> metrics``, ``save(directory)``, ``load(directory)``
pure JAX pair           ``jax_trainable(init, train)``: one member; executors compile and vectorise it
population              an object with ``population = True`` and `PopulationTrainable`'s methods: all members at once
command line            ``command("python train.py --lr {lr} --resume {checkpoint}")``: a process for each interval
======================  ================================================================================================

A *carry* is a tree of dict / list / tuple / str / int / float / bool / None / numpy or JAX arrays. Metrics are a mapping with
the score under the run's metric name. ``curve``, ``returns`` and ``steps`` (the steps that were really trained) become fields of
the result, and every other number becomes a metric.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import getattr_static
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple, Protocol, TypeGuard, runtime_checkable

import numpy as np

from poptrain.core import Carry, Hparams, Json, Metrics, Value
from poptrain.core.answering import answering, answering_class
from poptrain.core.brief import brief, shown
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.core.fingerprint import qualified_name, source_hash, source_name
from poptrain.space import Space
from poptrain.trainable import uses
from poptrain.trainable.command import Command, command

__all__ = [
    "AnyTrainable",
    "ChecksSpace",
    "Command",
    "JaxTrainable",
    "LearnsLater",
    "MemberClass",
    "PopulationTrainable",
    "Trainable",
    "as_trainable",
    "check_distill",
    "code_of",
    "command",
    "form_name",
    "in_directories",
    "is_population",
    "jax_trainable",
    "name_of",
    "origin",
    "uses_of",
]

DISTILL = {  # its arguments, by the form of a trainable
    "function": ("carry", "teacher", "hp", "steps", "seed", "progress"),
    "jax": ("carry", "teacher", "hparams", "steps", "key", "progress"),
    "population": ("carry", "teacher", "hparams", "steps", "seeds", "progress"),
    "class": ("teacher", "hp", "steps", "progress"),
}
METHODS = {"__init__": ("hp", "seed"), "train": ("hp", "steps"), "save": ("directory",), "load": ("directory",)}  # of a class
UserCode = Any  # whatever a user passes as a trainable, before `as_trainable` has recognised its form


@answering_class
class Trainable(NamedTuple):
    """The training of one member as functions: the form that executors call."""

    init: Callable[[Hparams, int], Carry]  # (hparams, seed)
    train: Callable[[Carry, Hparams, int, int], tuple[Carry, Metrics]]  # (carry, hparams, steps, seed)
    distill: Callable[..., tuple[Carry, Metrics]] | None = None  # (carry, teacher carry, hparams, steps, seed, progress)

    def __repr__(self) -> str:
        parts = [f"{name}={shown(part)}" for name, part in self._asdict().items() if part not in (None, _no_carry)]
        return f"Trainable({', '.join(parts)})"


@dataclass(frozen=True)
class JaxTrainable:
    """A pure JAX pair: ``init(hparams, key) -> carry`` and ``train(carry, hparams, steps, key) -> (carry, metrics)``.

    `hparams` are traced scalars (static ones and strings are Python values), and `steps` is a Python int.
    """

    init: Callable[..., Carry]
    train: Callable[..., tuple[Carry, Metrics]]
    distill: Callable[..., tuple[Carry, Metrics]] | None = None  # (carry, teacher, hparams, steps, key, progress)

    __repr__ = brief


PopulationHparams = Mapping[str, np.ndarray | Value]  # by name an array of shape (P,); of a static one the common value
Seeds = np.ndarray  # shape (P,), uint32


class PopulationTrainable(Protocol):
    """Training of a whole population at once: every array of a carry has a leading axis of P members.

    Metrics hold one entry per member: arrays of shape (P,), or for ``returns`` and ``curve`` a sequence of P sequences.
    """

    population: bool  # True: executors recognise this form by it

    def init(self, hparams: PopulationHparams, seeds: Seeds) -> Carry:
        """Returns the carry of P new members."""
        ...

    def train(self, carry: Carry, hparams: PopulationHparams, steps: int, seeds: Seeds) -> tuple[Carry, Metrics]:
        """Returns the carry after `steps` more steps of every member, and their metrics."""
        ...

    def gather(self, lanes: Sequence[tuple[Carry, int]]) -> Carry:
        """Returns one population carry that consists of copies of lanes, each ``(population carry, index)``."""
        ...


@runtime_checkable
class ChecksSpace(Protocol):
    """A trainable that knows its hyperparameters: `run` asks it before anything is trained or written."""

    def check_space(self, space: Space, budget: int | None) -> None:
        """Raises a `UsageError` if a hyperparameter is unknown to it, or may get a value that it refuses.

        Args:
            space: what is tuned.
            budget: steps of the whole training; None: unknown.
        """
        ...


@runtime_checkable
class LearnsLater(Protocol):
    """A trainable whose members train for some steps before their first update. `run` and `check` ask it for them."""

    def first_update(self, hparams: Hparams) -> tuple[int, str]:
        """Returns the steps of a member that come before its first update, and the name of the setting that states them.

        Args:
            hparams: the tuned ones.
        """
        ...


class MemberClass(Protocol):
    """The form for a training loop that exists already: an object that trains, saves and loads itself."""

    def __init__(self, hp: Hparams, seed: int):
        """Makes a new member."""

    def train(self, hp: Hparams, steps: int) -> Metrics:
        """Trains for `steps` steps and returns the metrics. It applies the hyperparameters in every call."""
        ...

    def save(self, directory: Path) -> None:
        """Writes everything that training needs to continue into an empty directory."""

    def load(self, directory: Path) -> None:
        """Continues from a directory that `save` of any member has written."""


AnyTrainable = Trainable | JaxTrainable | PopulationTrainable | type[MemberClass] | Command  # what `as_trainable` returns


@answering
def jax_trainable(
    init: Callable[..., Carry],
    train: Callable[..., tuple[Carry, Metrics]],
    distill: Callable[..., tuple[Carry, Metrics]] | None = None,
) -> JaxTrainable:
    """Returns a trainable from two pure JAX functions of one member. `Vectorized` trains all members in one program.

    Args:
        init: ``init(hparams, key) -> carry``.
        train: ``train(carry, hparams, steps, key) -> (carry, metrics)``.
        distill: ``distill(carry, teacher, hparams, steps, key, progress) -> (carry, metrics)``: what `train` does, for a
            member that also learns from the carry of a teacher. `progress` is the part of the distillation that these steps
            are: the pair (begin, end), two traced numbers in [0, 1].
    """
    for name, function in (("init", init), ("train", train), ("distill", train if distill is None else distill)):
        if not callable(function):
            raise UsageError(f"jax_trainable: {name} must be a function, got {function!r}.")
    return JaxTrainable(init, train, distill)


def as_trainable(what: UserCode) -> AnyTrainable:
    """Returns `what` in one of the forms that executors know: `Trainable`, `JaxTrainable`, a class, a population, a command.

    Raises:
        UsageError: it has none of the forms, or it is a class that lacks one of its methods.
    """
    if isinstance(what, (Trainable, JaxTrainable, Command)) or is_population(what):
        return what
    if isinstance(what, type):
        missing = [name for name in ("train", "save", "load") if not callable(getattr(what, name, None))]
        if missing:
            raise UsageError(
                f"trainable {what.__qualname__} lacks {', '.join(missing)}: a trainable class has __init__(hp, seed), "
                "train(hp, steps) -> metrics, save(directory) and load(directory)."
            )
        if all(getattr_static(what, name) is getattr_static(object, name) for name in ("__init__", "__new__")):
            raise UsageError(f"trainable {what.__qualname__} lacks __init__(self, hp, seed), which makes a new member.")
        for name, arguments in METHODS.items():
            if isinstance(method := getattr_static(what, name), FunctionType):  # not what a decorator has made of it
                _check_signature(method, "self", *arguments)
        return what
    if isinstance(what, partial) and isinstance(what.func, type):
        name = what.func.__qualname__
        raise UsageError(
            f"trainable: got a partial of the class {name}, expected a class: write a subclass of it that passes these arguments."
        )
    if inspect.isgeneratorfunction(what):
        _check_signature(what, "carry", "hp", "seed")
        return Trainable(_no_carry, _GeneratorTrain(what))
    if all(callable(getattr(what, name, None)) for name in ("train", "save", "load")):
        name = type(what).__qualname__
        raise UsageError(
            f"trainable: got an object of {name}, expected the class: trainable={name}. Every member makes its own object."
        )
    if callable(what):
        _check_signature(what, "carry", "hp", "steps", "seed")
        return Trainable(_no_carry, what)
    raise UsageError(
        f"trainable: got {type(what).__name__}, expected a function train(carry, hp, steps, seed), a generator function, "
        "a class with train, save and load, pt.jax_trainable(init, train), pt.command(line) or a pt.Trainable."
    )


def is_population(what: object) -> TypeGuard[PopulationTrainable]:
    """True if an object declares that it trains a whole population."""
    return bool(getattr(what, "population", False))


def check_distill(what: AnyTrainable) -> None:
    """Raises a `UsageError` unless members can learn from teachers: there is a `distill`, and it takes its arguments."""
    distill = getattr(what, "distill", None)
    if distill is None:
        raise UsageError(
            "trainable has no distill, and in this run students learn from teachers: pass "
            "pt.Trainable(init, train, distill), a class with a method distill(teacher, hp, steps, progress), "
            "or leave out generations."
        )
    if not callable(distill):
        raise UsageError(f"trainable: distill={distill!r}, expected a function or a method.")
    if not isinstance(what, type):
        _check_signature(distill, *DISTILL[form_name(what)])
    elif isinstance(method := getattr_static(what, "distill"), FunctionType):
        _check_signature(method, "self", *DISTILL["class"])


def origin(what: UserCode) -> UserCode:
    """Returns the user's own function, class or object in a trainable."""
    if isinstance(what, (Trainable, JaxTrainable)):
        return origin(what.train)
    return what.function if isinstance(what, _GeneratorTrain) else what


def class_in_memory(name: str) -> type[MemberClass] | None:
    """Returns the trainable class that a log records as ``module:qualname``, if it is loaded; nothing is imported or executed."""
    module, _, path = name.partition(":")
    for place in (sys.modules.get(module), sys.modules.get("__main__")):
        found: object = place
        for part in path.split("."):
            found = getattr(found, part, None)
        if not isinstance(found, type) or qualified_name(found) != name:
            continue
        if all(callable(getattr(found, each, None)) for each in ("train", "save", "load")):  # else an object of it was trained
            return found
    return None


def name_of(what: UserCode) -> str:
    """Returns ``module:qualname`` of a trainable, the name that a log records; of a command, its line."""
    return f"command:{what.line}" if isinstance(what, Command) else qualified_name(origin(what))


def code_of(what: UserCode) -> str:
    """Returns the name of a trainable with a short hash of its source, by which changed code is recognised."""
    return what.code() if isinstance(what, Command) else source_name(origin(what))


def uses_of(what: UserCode) -> dict[str, Json]:
    """Returns what the code of a trainable uses besides its own source, by name: see `poptrain.trainable.uses`."""
    if isinstance(what, Command):
        return dict(what.uses())
    found = uses.uses_of(origin(what))
    if isinstance(what, (Trainable, JaxTrainable)):
        for name, function in (("init", what.init), ("distill", what.distill)):
            if function not in (None, _no_carry):
                found |= {f"{name}.{key}": value for key, value in uses.uses_of(function).items() if key not in found}
                found[name] = source_hash(function)
    return found


def form_name(what: AnyTrainable) -> str:
    """Returns the form of a trainable, as a log records it: function, class, command, jax or population."""
    names = ((Trainable, "function"), (JaxTrainable, "jax"), (Command, "command"), (type, "class"))
    return next((name for kind, name in names if isinstance(what, kind)), "population")


def in_directories(what: AnyTrainable) -> bool:
    """True if the checkpoints of a trainable are directories that the user's code fills; else they are carries."""
    return isinstance(what, (type, Command))


def _no_carry(hparams: Hparams, seed: int) -> None:
    return None


@dataclass(frozen=True)
class _GeneratorTrain:
    """Runs a generator function: it restarts from the carry at every task, and each ``yield`` is one step."""

    function: Callable[..., Any]

    def __call__(self, carry: Carry, hparams: Hparams, steps: int, seed: int) -> tuple[Carry, Metrics]:
        generator = self.function(carry, hparams, seed)
        metrics: Metrics = {}
        done = 0
        try:
            for carry, metrics in generator:  # noqa: B007 (the last pair is what is returned)
                done += 1
                if done >= max(steps, 1):
                    break
        finally:
            generator.close()
        if done < steps:
            raise RuntimeError(f"the generator ended after {done} of {counted(steps, 'step')}: it must yield once per step")
        return carry, metrics


def _check_signature(function: Callable[..., Any], *names: str) -> None:
    try:
        signature = inspect.signature(function)
        signature.bind(*names)
    except TypeError:
        name = getattr(function, "__qualname__", function)
        one = list(signature.parameters)
        hint = f" The values of {one[0]!r} are in hp here; return (carry, metrics)." if one in (["config"], ["trial"]) else ""
        raise UsageError(f"trainable {name!s}{signature}: expected the arguments ({', '.join(names)}).{hint}") from None
    except ValueError:  # a builtin without a signature
        return
