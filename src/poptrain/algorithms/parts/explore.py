"""Explore: new hyperparameters for the members that were just cloned (Jaderberg et al. 2017, section 4.1.2).

A strategy sees all clones of one ``ask`` together, because model-based ones (PB2) choose them jointly. The model-free ones
here treat each clone alone, under a generator keyed by its task id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from poptrain.algorithms.parts.turns import FrozenDict
from poptrain.core import History, Hparams, Value
from poptrain.core.errors import UsageError
from poptrain.core.protocols import Clone, Explore, Proposal
from poptrain.core.rng import rng
from poptrain.space import Space


class _Alone:
    """Base of the strategies that vary each clone on its own."""

    def propose(self, history: History, space: Space, clones: Sequence[Clone]) -> list[Proposal]:
        return [Proposal(self.vary(clone.hparams, space, rng(history.seed, clone.id, "explore"))) for clone in clones]

    def vary(self, hparams: Hparams, space: Space, generator: np.random.Generator) -> dict[str, Value]:
        raise AssertionError("abstract")


@dataclass(frozen=True)
class Perturb(_Alone):
    """Each hyperparameter independently: redrawn with probability `resample`, else multiplied by one of `factors`."""

    factors: tuple[float, ...] | Mapping[str, tuple[float, ...]]  # for all, or by name
    resample: float

    def vary(self, hparams: Hparams, space: Space, generator: np.random.Generator) -> dict[str, Value]:
        return space.moved(hparams, generator, self.factors, self.resample)


@dataclass(frozen=True)
class Additive(_Alone):
    """Gaussian noise of standard deviation `sd` in units of each hyperparameter's range (log range for log types)."""

    sd: float

    def vary(self, hparams: Hparams, space: Space, generator: np.random.Generator) -> dict[str, Value]:
        return space.add(hparams, generator, self.sd)


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
    """A user's function ``explore(hparams, generator) -> hparams``; it gets a copy, and what it returns is checked."""

    function: Callable[[dict[str, Value], np.random.Generator], Mapping[str, Value]]

    def vary(self, hparams: Hparams, space: Space, generator: np.random.Generator) -> dict[str, Value]:
        name = getattr(self.function, "__qualname__", repr(self.function))
        try:
            varied = self.function(dict(hparams), generator)
        except Exception as error:
            raise UsageError(f"explore function {name} raised {type(error).__name__}: {error} (for {dict(hparams)}).") from error
        if not isinstance(varied, Mapping):
            raise UsageError(f"explore function {name} returned {type(varied).__name__}, expected a mapping of hyperparameters.")
        try:
            varied = space.finish(varied)
        except UsageError as error:
            raise UsageError(f"explore function {name} returned a configuration outside the space: {error}") from None
        changed = [key for key in space.static_names if varied[key] != hparams[key]]
        if changed:
            raise UsageError(f"explore function {name} changed the static hyperparameter {changed[0]!r}; clones must keep it.")
        return varied


def perturb(factors: Sequence[float] | Mapping[str, Sequence[float]] = (0.8, 1.2), resample: float = 0.25) -> Perturb:
    """Returns the paper's perturbation; resampling with probability 0.25 is Ray Tune's addition and our default.

    Args:
        factors: for all hyperparameters, or by name for each that is not static.
        resample: the probability of a fresh draw from the whole range instead.
    """
    _check_probability("perturb", "resample", resample)
    if isinstance(factors, Mapping):
        return Perturb(FrozenDict({name: _factors(each) for name, each in factors.items()}), float(resample))
    return Perturb(_factors(factors), float(resample))


def _factors(factors: Any) -> tuple[float, ...]:
    if not isinstance(factors, Sequence) or isinstance(factors, str) or not factors:
        raise UsageError(f"perturb(factors={factors!r}): expected a sequence of factors, for example (0.8, 1.2).")
    for factor in factors:
        if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 < factor < float("inf"):
            raise UsageError(f"perturb(factors={tuple(factors)}): {factor!r} is not a finite number above 0.")
    return tuple(float(factor) for factor in factors)


def additive(sd: float = 0.1) -> Additive:
    """Returns Gaussian exploration with standard deviation `sd` of the range."""
    if isinstance(sd, bool) or not isinstance(sd, (int, float)) or not 0 < sd < float("inf"):
        raise UsageError(f"additive(sd={sd!r}): expected a finite number above 0, in units of the range.")
    return Additive(float(sd))


def resample() -> Resample:
    """Returns exploration that redraws every hyperparameter."""
    return Resample()


def as_explore(what: Any) -> Explore[Space]:
    """Returns `what` as a strategy; None keeps the configuration, a function is wrapped and checked."""
    if what is None:
        return Keep()
    if isinstance(what, Explore) and not isinstance(what, type):
        return what
    if callable(what):
        return Custom(what)
    raise UsageError(
        f"explore={what!r}: expected pt.perturb(…), pt.additive(sd), pt.resample(), None, or a function "
        "explore(hparams, generator) -> hparams."
    )


def _check_probability(what: str, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise UsageError(f"{what}({name}={value!r}): expected a probability from 0 to 1.")
