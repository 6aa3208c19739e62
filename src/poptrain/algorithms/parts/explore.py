"""Explore: new hyperparameters for the members that were just copied (Jaderberg et al. 2017, section 4.1.2).

A strategy implements `poptrain.core.protocols.Explore`: ``propose(history, space, clones)`` returns one `Proposal` for each
clone. It gets all clones of one ``ask`` together, because model-based strategies (PB2) choose them jointly. The strategies
here treat each clone alone, with a random generator that its task id determines.

A rule without a model is a function ``explore(hparams, generator) -> hparams``. A class of your own is a frozen dataclass::

    @dataclass(frozen=True)
    class Halve:
        def propose(self, history, space, clones):
            halves = [space["lr"].snap(clone.hparams["lr"] / 2) for clone in clones]   # snap clips to the range
            return [
                Proposal(space.finish({**clone.hparams, "lr": half})) for clone, half in zip(clones, halves)
            ]

Both are passed as ``pt.pbt(…, explore=…)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from poptrain.algorithms.parts.turns import FrozenDict
from poptrain.core import History, Hparams, Value
from poptrain.core.answering import answering
from poptrain.core.arguments import is_finite
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.core.protocols import Clone, Explore, Proposal
from poptrain.core.rng import rng
from poptrain.core.user_objects import named
from poptrain.space import Space

__all__ = [
    "Additive",
    "Clone",
    "Custom",
    "Explore",
    "ExploreArgument",
    "Keep",
    "Perturb",
    "Proposal",
    "Resample",
    "additive",
    "as_explore",
    "perturb",
    "proposals_of",
    "resample",
]

STEP, REDRAWN = 0.1, 0.25  # how `pt.pbt` explores by default: steps in units of the range, and the probability of a redraw
ExploreFunction = Callable[[dict[str, Value], np.random.Generator], Mapping[str, Value]]
ExploreArgument = Explore[Space] | ExploreFunction | None  # what `pt.pbt` takes as `explore`


class _Alone(ABC):
    """Base of the strategies that vary each clone on its own."""

    def propose(self, history: History, space: Space, clones: Sequence[Clone]) -> list[Proposal]:
        """Returns one proposal for each clone."""
        return [Proposal(self.vary(clone.hparams, space, rng(history.seed, clone.id, "explore"))) for clone in clones]

    @abstractmethod
    def vary(self, hparams: Hparams, space: Space, generator: np.random.Generator) -> dict[str, Value]:
        """Returns new hyperparameters, inside the space and with the same static values."""


@dataclass(frozen=True)
class Perturb(_Alone):
    """Each hyperparameter independently: redrawn with probability `resample`, else multiplied by one of `factors`."""

    factors: tuple[float, ...] | Mapping[str, tuple[float, ...]]  # for all, or by name
    resample: float

    def vary(self, hparams: Hparams, space: Space, generator: np.random.Generator) -> dict[str, Value]:
        return space.moved(hparams, generator, self.factors, self.resample)


@dataclass(frozen=True)
class Additive(_Alone):
    """Gaussian noise of standard deviation `sd` in units of each hyperparameter's range (log range for log types).

    Each hyperparameter is redrawn from its whole range with probability `resample` instead.
    """

    sd: float
    resample: float = field(default=0.0, metadata={"absent": 0.0})

    def vary(self, hparams: Hparams, space: Space, generator: np.random.Generator) -> dict[str, Value]:
        return space.added(hparams, generator, self.sd, self.resample)


@dataclass(frozen=True)
class Resample(_Alone):
    """Every hyperparameter is redrawn from its whole range."""

    def vary(self, hparams: Hparams, space: Space, generator: np.random.Generator) -> dict[str, Value]:
        return space.redraw(hparams, generator)


@dataclass(frozen=True)
class Keep(_Alone):
    """The configuration is copied as it is: selection without exploration, a control experiment."""

    def vary(self, hparams: Hparams, space: Space, generator: np.random.Generator) -> dict[str, Value]:
        return dict(hparams)


@dataclass(frozen=True)
class Custom(_Alone):
    """A user's function ``explore(hparams, generator) -> hparams``. It gets a copy, and its return value is checked."""

    function: ExploreFunction

    def vary(self, hparams: Hparams, space: Space, generator: np.random.Generator) -> dict[str, Value]:
        name = getattr(self.function, "__qualname__", repr(self.function))
        try:
            returned: object = self.function(dict(hparams), generator)
        except Exception as error:
            raise UsageError(f"explore function {name} raised {named(error)} (for {dict(hparams)}).") from error
        if not isinstance(returned, Mapping):
            raise UsageError(
                f"explore function {name} returned {type(returned).__name__}, expected a mapping of hyperparameters."
            )
        try:
            varied = space.finish(returned)
        except UsageError as error:
            raise UsageError(f"explore function {name} returned a configuration outside the space: {error}") from None
        changed = [key for key in space.static_names if varied[key] != hparams[key]]
        if changed:
            raise UsageError(f"explore function {name} changed the static hyperparameter {changed[0]!r}; clones must keep it.")
        return varied


@answering
def perturb(factors: Sequence[float] | Mapping[str, Sequence[float]] = (0.8, 1.2), resample: float = 0.25) -> Perturb:
    """Returns the paper's perturbation; resampling with probability 0.25 is an addition of Ray Tune, and the default here.

    Args:
        factors: to multiply by; one sequence for all hyperparameters, or one by name for each that is not static.
        resample: the probability of a fresh draw from the whole range instead.

    Raises:
        UsageError: a factor is not a finite number above 0, or `resample` is not a probability.
    """
    _check_probability("perturb", "resample", resample)
    if isinstance(factors, Mapping):
        return Perturb(FrozenDict({name: _factors(each) for name, each in factors.items()}), float(resample))
    return Perturb(_factors(factors), float(resample))


def _factors(factors: object) -> tuple[float, ...]:
    if not isinstance(factors, Sequence) or isinstance(factors, str) or not factors:
        raise UsageError(f"perturb(factors={factors!r}): expected a sequence of factors, for example (0.8, 1.2).")
    for factor in factors:
        if not is_finite(factor) or not factor > 0:
            raise UsageError(f"perturb: factors has {factor!r:.60}, which is not a finite number above 0.")
    return tuple(float(factor) for factor in factors)


@answering
def additive(sd: float = 0.1, resample: float = 0.0) -> Additive:
    """Returns Gaussian exploration; ``additive(0.1, resample=0.25)`` is the default of `pt.pbt`.

    A step of 0.1 ranges is the same for a learning rate over five decades and for a discount from 0.9 to 1, where the factors
    of the paper move the first one by a sixtieth of its range and throw the second one from end to end.

    Args:
        sd: standard deviation of a step, in units of the range (of the log range for log types).
        resample: the probability, for each hyperparameter on its own, of a fresh draw from the whole range instead. A `Choice`
            changes in this way only.

    Raises:
        UsageError: `sd` is not a finite number above 0, or `resample` is not a probability.
    """
    if not is_finite(sd) or not sd > 0:
        raise UsageError(f"additive(sd={sd!r:.60}): expected a finite number above 0, in units of the range.")
    _check_probability("additive", "resample", resample)
    return Additive(float(sd), float(resample))


@answering
def resample() -> Resample:
    """Returns exploration that redraws every hyperparameter."""
    return Resample()


DEFAULT = Additive(STEP, REDRAWN)  # of `pbt`


def as_explore(what: object, owner: str = "pbt") -> Explore[Space]:
    """Returns a strategy: `what` itself, `Keep` for None, or the checked function.

    Args:
        what: the argument `explore` of an algorithm.
        owner: name of the algorithm, for the error.

    Raises:
        UsageError: it is none of these.
    """
    if what is None:
        return Keep()
    if what in (perturb, additive, resample):
        raise UsageError(f"{owner}: explore=pt.{what.__name__} is the function itself: call it, pt.{what.__name__}(…).")
    if not isinstance(what, type):
        if isinstance(what, Explore):
            return what
        if callable(what):
            return Custom(what)
    raise UsageError(
        f"{owner}: explore={what!r}, expected pt.perturb(…), pt.additive(sd), pt.resample(), None, a function "
        "explore(hparams, generator) -> hparams, or an object with the method propose(history, space, clones) of the protocol "
        "poptrain.core.protocols.Explore."
    )


def check_factors(explore: Explore[Space], space: Space) -> None:
    """Raises a `UsageError` if the factors of a `perturb` have other names than the space: now, and not at the first copy."""
    if isinstance(explore, Perturb):
        explore.vary(space.sample(rng(0, "check")), space, rng(0, "check"))


def by_origin(history: History, clones: Sequence[Clone]) -> tuple[list[Clone], list[Clone]]:
    """Returns the clones with the weights of another member, and those that go on with their own."""
    moved, going = list[Clone](), list[Clone]()
    for clone in clones:
        (going if history.task(clone.parent).member == clone.member else moved).append(clone)
    return moved, going


def on_lattice(space: Space, clone: Clone, hparams: Mapping[str, Value]) -> Hparams:
    """Returns hyperparameters rounded to the lattice and repaired, with the static values of the clone's weights.

    Raises:
        UsageError: the space's repair changed a static value.
    """
    made = space.finish({**hparams, **{name: clone.hparams[name] for name in space.static_names}})
    changed = [name for name in space.static_names if made[name] != clone.hparams[name]]
    if changed:
        raise UsageError(f"repair changed the static hyperparameter {changed[0]!r}; clones must keep it.")
    return made


def proposals_of(explore: Explore[Space], history: History, space: Space, clones: Sequence[Clone]) -> list[Proposal]:
    """Returns one proposal for each clone, in their order; [] without clones.

    Raises:
        UsageError: the strategy returned something else.
    """
    if not clones:
        return []
    returned: object = explore.propose(history, space, clones)
    if not isinstance(returned, Iterable) or isinstance(returned, Proposal):
        raise UsageError(f"explore={explore!r}: propose returned {type(returned).__name__}, expected a list of Proposal.")
    proposals = list[Proposal]()
    for each in returned:
        if not isinstance(each, tuple) or not 1 <= len(each) <= len(Proposal._fields):
            raise UsageError(f"explore={explore!r}: propose returned a {type(each).__name__} in its list, expected Proposal.")
        proposals.append(proposal := Proposal(*each))
        if not isinstance(proposal.hparams, Mapping) or not isinstance(proposal.note, Mapping):
            raise UsageError(
                f"explore={explore!r}: propose returned {proposal!r:.100}, expected mappings by name as its hparams and its note."
            )
    if len(proposals) != len(clones):
        raise UsageError(
            f"explore={explore!r}: propose returned {counted(len(proposals), 'proposal')} for {counted(len(clones), 'clone')}."
        )
    return proposals


def _check_probability(what: str, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise UsageError(f"{what}({name}={value!r}): expected a probability from 0 to 1.")
