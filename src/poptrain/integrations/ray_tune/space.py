"""Ray's way to write a search space (``hyperparam_mutations``, ``hyperparam_bounds``) as a `poptrain.Space`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from ray.tune.search import sample

from poptrain.core import Value
from poptrain.core.errors import UsageError
from poptrain.core.facts import is_number
from poptrain.core.fingerprint import source_name
from poptrain.integrations.ray_tune.configs import Config, at
from poptrain.space import Choice, Int, LogInt, LogUniform, Ordinal, Space, Uniform
from poptrain.space.parameter import Parameter, plain, show

MOST_LEVELS = 64  # of an `Ordinal` of quantised values; with more levels, a step to a neighbour would be too small to matter

Lattice = tuple[str, float, float, float]  # of a quantised range: name, q, least and greatest multiple


@contextmanager
def keyed(key: int) -> Iterator[None]:
    """Seeds Python's and numpy's global generators for the functions of users, and restores them afterwards."""
    states = random.getstate(), np.random.get_state()
    random.seed(key)
    np.random.seed(key & 0xFFFFFFFF)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@final
@dataclass(frozen=True, repr=False)
class Sampled(Parameter):
    """A hyperparameter that is known only by a function that samples it: every exploration calls the function again."""

    function: Callable[[], object]
    static = False
    numeric = False
    levels = None
    init = None

    def encode(self, value: object) -> float:
        return 0.0

    def decode(self, u: float) -> Value:
        raise UsageError(f"{self.describe()['function']} has no range; pass tune.uniform(low, high) or another domain instead.")

    def snap(self, value: object) -> Value:
        return plain(value)

    def contains(self, value: object) -> bool:
        value = plain(value)
        return isinstance(value, bool | int | float | str | None) and value == value

    def shift(self, value: object, delta: float, dither: float = 0.5) -> Value:
        return plain(value)

    def grid(self, n: int) -> list[Value]:
        return [self.decode(0.5)]

    def describe(self) -> dict[str, object]:
        return {"type": "Sampled", "function": source_name(self.function)}

    def __repr__(self) -> str:
        return f"Sampled({self.describe()['function']})"

    def _first(self, u: float) -> Value:
        return self._draw(u)

    def _draw(self, u: float) -> Value:
        with keyed(int(u * 2**53)):
            value = plain(self.function())
        if not self.contains(value):
            raise UsageError(f"{self.describe()['function']} returned {show(value)}, expected a number, a string or a bool.")
        return value

    def _perturb(self, value: object, factor: float, u: float) -> Value:
        return self._draw(u)

    def _why_not(self, value: object) -> str:
        return "is not a number, a string or a bool."


@dataclass(frozen=True)
class Quantised:
    """The repair that rounds to multiples of q, inside the bounds."""

    lattices: tuple[tuple[str, float, float, float], ...]  # name, q, least and greatest multiple

    def __call__(self, hparams: dict[str, Any]) -> dict[str, Any]:
        for name, q, low, high in self.lattices:
            branch = hparams
            *path, last = name.split(".")
            for key in path:
                branch = branch[key]
            branch[last] = type(branch[last])(min(max(round(branch[last] / q) * q, low), high))
        return hparams


def from_mutations(what: str, mutations: Mapping[str, object]) -> Space:
    """Returns the space of Ray's ``hyperparam_mutations``.

    Raises:
        UsageError: a value is not a list, a tune domain, a function, a dict or a poptrain parameter.
    """
    flat = flattened(what, mutations)
    lattices: list[Lattice] = []
    parameters = {name: _parameter(f"{what}[{name!r}]", name, value, lattices) for name, value in flat.items()}
    return Space(parameters, repair=Quantised(tuple(lattices)) if lattices else None)


def flattened(what: str, mutations: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Returns nested mutations under dotted names."""
    flat: dict[str, object] = {}
    for key, value in mutations.items():
        if not isinstance(key, str) or "." in key:
            raise UsageError(f"{what}: the name {key!r} cannot be used; nest it, as in {{'optimizer': {{'lr': …}}}}.")
        if isinstance(value, Mapping) and "grid_search" in value:
            raise UsageError(
                f"{what}[{prefix + key!r}]: grid_search belongs in param_space; pass the list of values here instead."
            )
        flat.update(flattened(what, value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value})
    return flat


def _parameter(what: str, name: str, value: object, lattices: list[Lattice]) -> Parameter:
    if isinstance(value, Parameter):
        return value
    if isinstance(value, (list, tuple)):
        return Ordinal(*value)
    if isinstance(value, sample.Categorical):
        return Choice(*value.categories)
    if isinstance(value, (sample.Float, sample.Integer)):
        return _range(what, name, value, lattices)
    if isinstance(value, sample.Domain):
        raise UsageError(f"{what}: tune.sample_from depends on the rest of a config; pass a function without arguments instead.")
    if callable(value):
        return Sampled(value)
    raise UsageError(f"{what}={show(value)}: expected a list, a tune domain such as tune.uniform(0, 1), a function or a dict.")


def _range(what: str, name: str, domain: Any, lattices: list[Lattice]) -> Parameter:
    sampler, whole = domain.sampler, isinstance(domain, sample.Integer)
    q = getattr(sampler, "q", None)
    sampler = sampler.sampler if isinstance(sampler, sample.Quantized) else sampler
    if isinstance(sampler, sample.Normal):
        raise UsageError(f"{what}: tune.randn has no bounds; pass tune.uniform(low, high) instead.")
    log = isinstance(sampler, sample.LogUniform)
    high = domain.upper - 1 if whole and q in (None, 1) else domain.upper  # Ray leaves the upper end of integers out
    if q in (None, 1) and whole:
        return (LogInt if log else Int)(domain.lower, high)
    if q is None:
        return (LogUniform if log else Uniform)(domain.lower, high)
    first, last = int(np.ceil(domain.lower / q - 1e-9)), int(np.floor(high / q + 1e-9))  # multiples of q inside the bounds
    values = [first * q, last * q]
    if last - first < MOST_LEVELS:
        values = [i * q if whole else float(f"{i * q:.12g}") for i in range(first, last + 1)]
        return Ordinal(*values)
    lattices.append((name, q, values[0], values[-1]))
    kind = (LogInt if log else Int) if whole else (LogUniform if log else Uniform)
    return kind(domain.lower, high)


def from_bounds(what: str, bounds: Mapping[str, object], given: list[Config]) -> Space:
    """Returns the space of Ray's ``hyperparam_bounds``: a pair is a range on a linear scale, as in Ray.

    A pair of whole numbers is a range of whole numbers, except [0, 1], and except where a config starts from a float. Tune
    domains are accepted too.

    Raises:
        UsageError: a value is neither a pair of bounds nor a domain with a range.
    """
    mutations: dict[str, object] = {}
    for name, value in flattened(what, bounds).items():
        where = f"{what}[{name!r}]"
        if isinstance(value, (list, tuple)):
            mutations[name] = _bounded(where, name, [plain(end) for end in value], given)
        elif callable(value) and not isinstance(value, sample.Domain):
            raise UsageError(
                f"{where} is a function, so its range is unknown to the model; pass [low, high] or tune.loguniform(low, high)."
            )
        else:
            mutations[name] = value
    lattices: list[Lattice] = []
    parameters = {name: _parameter(f"{what}[{name!r}]", name, value, lattices) for name, value in mutations.items()}
    return Space(parameters, repair=Quantised(tuple(lattices)) if lattices else None)


def _bounded(where: str, name: str, ends: list[Any], given: list[Config]) -> Parameter:
    if len(ends) != 2 or not all(is_number(end) for end in ends) or not ends[0] < ends[1]:
        raise UsageError(
            f"{where}={show(ends)}: expected [low, high] with low < high; write a list of values as tune.choice([…])."
        )
    starts = [plain(at(config, name)) for config in given]
    whole = all(isinstance(end, int) for end in ends) and tuple(ends) != (0, 1)
    return Int(*ends) if whole and not any(isinstance(start, float) for start in starts) else Uniform(*ends)
