"""What is trained: the five forms that a user may write, and the one form that executors call.

======================  ================================================================================================
function                ``train(carry, hp, steps, seed) -> (carry, metrics)``; `carry` is None at the start
generator function      ``train(carry, hp, seed)`` yields ``(carry, metrics)`` after every step
class                   ``__init__(hp, seed)``, ``train(hp, steps) -> metrics``, ``save(directory)``, ``load(directory)``
pure JAX pair           ``jax_trainable(init, train)``: one member; executors compile and vectorise it
population              an object with ``population = True`` and `PopulationTrainable`'s methods: all members at once
======================  ================================================================================================

A *carry* is a tree of dict / list / tuple / str / int / float / bool / None / numpy or JAX arrays. Metrics are a mapping with
the score under the run's metric name; ``curve``, ``returns`` and ``steps`` (what was really trained) become fields of the
result, every other number a metric.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from poptrain.core import Carry, Hparams, Metrics
from poptrain.core.errors import UsageError
from poptrain.core.fingerprint import module_of


class Trainable(NamedTuple):
    """One member's training as functions: the form that executors call."""

    init: Callable[[Hparams, int], Carry]  # (hparams, seed)
    train: Callable[[Carry, Hparams, int, int], tuple[Carry, Metrics]]  # (carry, hparams, steps, seed)
    distill: Callable[..., tuple[Carry, Metrics]] | None = None  # (carry, teacher carry, hparams, steps, seed, progress)


@dataclass(frozen=True)
class JaxTrainable:
    """A pure JAX pair: ``init(hparams, key) -> carry`` and ``train(carry, hparams, steps, key) -> (carry, metrics)``.

    `hparams` arrive as traced scalars (static ones and strings as Python values), `steps` as a Python int.
    """

    init: Callable[..., Carry]
    train: Callable[..., tuple[Carry, Metrics]]


class PopulationTrainable(Protocol):
    """Training of a whole population at once: every array has a leading axis of P members.

    `hparams` maps each name to an array of shape (P,), static ones to the one value that all P share; `seeds` has shape (P,).
    Metrics hold one entry per member: arrays of shape (P,), or for ``returns`` and ``curve`` a sequence of P sequences.
    """

    population: bool  # True: how executors recognise this form

    def init(self, hparams: Mapping[str, Any], seeds: Any) -> Carry: ...

    def train(self, carry: Carry, hparams: Mapping[str, Any], steps: int, seeds: Any) -> tuple[Carry, Metrics]: ...

    def gather(self, lanes: Sequence[tuple[Carry, int]]) -> Carry:
        """Returns one population carry of the given lanes, each ``(population carry, index)``; must copy."""
        ...


class MemberClass(Protocol):
    """The form for people with a training loop of their own: an object that trains, saves and loads itself."""

    def __init__(self, hp: Hparams, seed: int): ...

    def train(self, hp: Hparams, steps: int) -> Metrics: ...

    def save(self, directory: Path) -> None: ...

    def load(self, directory: Path) -> None: ...


def jax_trainable(init: Callable[..., Carry], train: Callable[..., tuple[Carry, Metrics]]) -> JaxTrainable:
    """Returns a trainable from two pure JAX functions of one member; `Vectorized` trains all members in one program."""
    for name, function in (("init", init), ("train", train)):
        if not callable(function):
            raise UsageError(f"jax_trainable: {name} must be a function, got {function!r}.")
    return JaxTrainable(init, train)


def as_trainable(what: Any) -> Trainable | JaxTrainable | PopulationTrainable | type:
    """Returns `what` in one of the forms that executors know: `Trainable`, `JaxTrainable`, a class, or a population.

    Raises:
        UsageError: it is none of the forms, or a class that lacks one of its methods.
    """
    if isinstance(what, (Trainable, JaxTrainable)) or getattr(what, "population", False):
        return what
    if isinstance(what, type):
        missing = [name for name in ("train", "save", "load") if not callable(getattr(what, name, None))]
        if missing:
            raise UsageError(
                f"trainable {what.__qualname__} lacks {', '.join(missing)}: a trainable class has __init__(hp, seed), "
                "train(hp, steps) -> metrics, save(directory) and load(directory)."
            )
        return what
    if inspect.isgeneratorfunction(what):
        _check_signature(what, "carry", "hp", "seed")
        return Trainable(_no_carry, _GeneratorTrain(what))
    if all(callable(getattr(what, name, None)) for name in ("train", "save", "load")):
        name = type(what).__qualname__
        raise UsageError(f"trainable: got an object of {name}, expected the class: trainable={name}; every member makes its own.")
    if callable(what):
        _check_signature(what, "carry", "hp", "steps", "seed")
        return Trainable(_no_carry, what)
    raise UsageError(
        f"trainable: got {type(what).__name__}, expected a function train(carry, hp, steps, seed), a generator function, "
        "a class with train, save and load, pt.jax_trainable(init, train) or a pt.Trainable."
    )


def origin(what: Any) -> Any:
    """Returns the user's own function, class or object inside a trainable."""
    if isinstance(what, (Trainable, JaxTrainable)):
        return origin(what.train)
    return what.function if isinstance(what, _GeneratorTrain) else what


def name_of(what: Any) -> str:
    """Returns ``module:qualname`` of a trainable, the name by which a log records it."""
    what = origin(what)
    if not hasattr(what, "__qualname__"):
        what = type(what)
    return f"{module_of(what)}:{what.__qualname__}"


def _no_carry(hparams: Hparams, seed: int) -> None:
    return None


@dataclass(frozen=True)
class _GeneratorTrain:
    """Drives a generator function: restarted from the carry at every task, one ``yield`` a step."""

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
            raise RuntimeError(f"the generator ended after {done} of {steps} steps: it must yield once per step")
        return carry, metrics


def _check_signature(function: Callable[..., Any], *names: str) -> None:
    try:
        signature = inspect.signature(function)
        signature.bind(*names)
    except TypeError:
        raise UsageError(
            f"trainable {getattr(function, '__qualname__', function)!s}{signature}: expected the arguments ({', '.join(names)})."
        ) from None
    except ValueError:  # a builtin without a signature
        return
