"""The space of configurations: named parameters, and a repair across them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, final

import numpy as np
from numpy.random import Generator

from poptrain.core import Hparams, Value
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.space.checks import check_factors, check_number, check_parameter, flatten
from poptrain.space.parameter import Parameter, is_number, plain, show

MOST_POINTS = 1_000_000


def nested(hparams: Hparams) -> dict[str, Any]:
    """Returns hyperparameters as a trainable sees them: names with dots become nested dicts.

    >>> nested({"optimizer.lr": 0.1, "seed": 1})
    {'optimizer': {'lr': 0.1}, 'seed': 1}
    """
    tree: dict[str, Any] = {}
    for name, value in hparams.items():
        if "." in name:
            *path, name = name.split(".")
            branch = tree
            for part in path:
                branch = branch.setdefault(part, {})
            branch[name] = value
        else:
            tree[name] = value
    return tree


@final
class Space(Mapping[str, Parameter]):
    """Named parameters, in their order: a mapping from flat names to parameters, immutable and hashable.

    Names nest, as dicts (``optimizer={"lr": …}``) or with dots (``{"optimizer.lr": …}``); configurations
    are flat. Every method that makes one ends in `finish`: it is on the lattice, repaired and checked.

    Args:
        mapping: parameters by name, for names that are no Python identifiers.
        repair: hparams -> hparams, conditions across parameters. It sees a copy, nested as for a trainable,
            and may change any value inside the bounds (later than the first draw: not static ones). Pure.
        params: parameters by name.

    >>> from poptrain.space import Int, LogUniform
    >>> space = Space(optimizer={"lr": LogUniform(1e-4, 1e-1)}, layers=Int(1, 4))
    >>> space.names
    ('optimizer.lr', 'layers')
    >>> space.perturb({"optimizer.lr": 0.01, "layers": 1}, np.random.default_rng(0))
    {'optimizer.lr': 0.008, 'layers': 2}
    """

    def __init__(
        self,
        mapping: Mapping[str, Any] | None = None,
        /,
        *,
        repair: Callable[[dict[str, Any]], Mapping[str, Any]] | None = None,
        **params: Any,
    ):
        if mapping is not None and not isinstance(mapping, Mapping):
            raise UsageError(
                f"Space: got {show(mapping)}; give parameters by name, for example Space(lr=LogUniform(1e-4, 1e-1))."
            )
        if repair is not None and not callable(repair):
            raise UsageError(f"Space: repair={repair!r} is not callable; give a function from hparams to hparams.")
        flat = flatten(mapping or {})
        for name, parameter in flatten(params).items():
            if name in flat:
                raise UsageError(f"Space: the name {name!r} appears twice; give each parameter one name.")
            flat[name] = parameter
        if not flat:
            raise UsageError("Space() has no parameters; give at least one, for example Space(lr=LogUniform(1e-4, 1e-1)).")
        for name, parameter in flat.items():
            check_parameter(name, parameter)
            for end in range(len(name)):
                if name[end] == "." and name[:end] in flat:
                    raise UsageError(f"Space: {name[:end]!r} is a parameter and holds {name!r}; rename one of them.")
        self._params: dict[str, Parameter] = flat
        self.repair = repair
        self.names = tuple(flat)
        self.static_names = tuple(name for name in flat if flat[name].static)
        self._free = tuple((name, parameter) for name, parameter in flat.items() if not parameter.static)
        self._text = json.dumps(self.describe())
        self._checked: tuple[Any, dict[str, tuple[float, ...]]] = (None, {})  # the last factors that were found good

    # -- a mapping -------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._params)

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def __getitem__(self, name: str) -> Parameter:
        return self._params[name]

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Space) and self._text == other._text and self.repair is other.repair

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        inside = ", ".join(f"{name!r}: {parameter!r}" for name, parameter in self.items())
        return f"Space({{{inside}}}{f', repair={self._repair_name()}' if self.repair else ''})"

    def describe(self) -> dict[str, Any]:
        """Returns the definition as JSON, stable between processes: for fingerprints."""
        return {"parameters": {name: p.describe() for name, p in self.items()}, "repair": self._repair_name()}

    def _repair_name(self) -> str | None:
        if self.repair is None:
            return None
        owner = self.repair if hasattr(self.repair, "__qualname__") else type(self.repair)
        return f"{owner.__module__}:{owner.__qualname__}"

    # -- making configurations -------------------------------------------------------------------------------

    def sample(self, generator: Generator) -> dict[str, Value]:
        """Returns a first configuration, drawn from the `init` ranges."""
        units = generator.random(len(self)).tolist()
        return self._finish({name: p._first(u) for (name, p), u in zip(self._params.items(), units, strict=True)})

    def complete(self, partial: Mapping[str, Any], generator: Generator) -> dict[str, Value]:
        """Returns the given values, checked and rounded, with the rest sampled (the same rest always)."""
        given = self._known(partial)
        units = generator.random(len(self)).tolist()
        pairs = zip(self._params.items(), units, strict=True)
        return self._finish({name: given[name] if name in given else p._first(u) for (name, p), u in pairs})

    def perturb(
        self,
        hparams: Hparams,
        generator: Generator,
        factors: Sequence[float] | Mapping[str, Any] = (0.8, 1.2),
        resample: float = 0.0,
    ) -> dict[str, Value]:
        """Returns the configuration with every parameter that is not static moved, each independently.

        Args:
            factors: one is drawn uniformly for each parameter; for all, or by name for each that is not static.
            resample: the probability of a fresh draw from the whole range instead.
        """
        return self.moved(self._clean(hparams), generator, factors, check_number("resample", resample, 1))

    def moved(self, old: Hparams, generator: Generator, factors: Any, resample: float) -> dict[str, Value]:
        """Returns `perturb` of a configuration that this space made, such as a task's: it is not checked again."""
        each, new = self._factors(factors), dict(old)
        draws = generator.random((len(self._free), 3)).tolist()
        for (name, p), (coin, pick, u) in zip(self._free, draws, strict=True):
            new[name] = p._draw(u) if coin < resample else p._perturb(old[name], each[name][int(pick * len(each[name]))], u)
        return self._finish(new, old)

    def _factors(self, factors: Any) -> dict[str, tuple[float, ...]]:
        """Returns the factors of every parameter that is not static, by name."""
        if type(factors) is tuple and factors == self._checked[0]:
            return self._checked[1]  # a population asks with the same factors for ever
        if not isinstance(factors, Mapping):
            each = dict.fromkeys((name for name, _ in self._free), check_factors(factors))
            self._checked = (factors, each)
            return each
        flat = flatten(factors)
        self._refuse_unknown(flat)
        missing = [name for name, _ in self._free if name not in flat]
        if missing:
            raise UsageError(f"perturb: the factors lack {missing[0]!r}; give factors for {', '.join(self.names)}.")
        return {name: check_factors(flat[name]) for name, _ in self._free}

    def add(self, hparams: Hparams, generator: Generator, sd: float) -> dict[str, Value]:
        """Returns the configuration plus N(0, sd) in encoded units, clipped.

        Static parameters and every `Choice` keep their value. Discrete values are rounded at random, right on
        average, so that they move however small `sd` is.
        """
        sd = check_number("sd", sd, math.inf)
        new = self._clean(hparams)
        old = dict(new)
        normals = generator.standard_normal(len(self._free)).tolist()
        dithers = generator.random(len(self._free)).tolist()
        for (name, p), normal, dither in zip(self._free, normals, dithers, strict=True):
            new[name] = p.shift(old[name], sd * normal, dither)
        return self._finish(new, old)

    def redraw(self, hparams: Hparams, generator: Generator) -> dict[str, Value]:
        """Returns the configuration with every parameter that is not static drawn from its whole range."""
        return self.perturb(hparams, generator, resample=1.0)

    def decode(self, units: Sequence[float] | np.ndarray) -> dict[str, Value]:
        """Returns the configuration of codes, shape (d,)."""
        units = np.asarray(units, float)
        if units.shape != (len(self),):
            raise UsageError(f"decode: got codes of shape {units.shape}; give one for each of the {len(self)} parameters.")
        return self._finish({name: p.decode(u) for (name, p), u in zip(self.items(), units.tolist(), strict=True)})

    def grid(self, levels: int | Mapping[str, int]) -> list[dict[str, Value]]:
        """Returns all combinations of the parameters' grids, the last name running fastest, each once.

        Args:
            levels: values for each parameter, or by name; a discrete one that is left out gives all its
                values. A `Choice` always gives all its options.
        """
        given = flatten(levels) if isinstance(levels, Mapping) else dict.fromkeys(self.names, levels)
        self._refuse_unknown(given)
        columns = []
        for name, p in self.items():
            n = plain(given.get(name, p.levels))
            if n is None:
                raise UsageError(
                    f"grid: levels has no {name!r}, which has a continuum of values; give levels={{{name!r}: 5, …}}."
                )
            if not is_number(n) or n < 1 or n != math.floor(n):
                raise UsageError(f"grid: levels={n!r} for {name!r} is not a whole number from 1; give for example 5.")
            columns.append((name, p, int(n)))
        size = math.prod(n if p.levels is None else min(n, p.levels) for _, p, n in columns)
        if size > MOST_POINTS:
            raise UsageError(f"grid: {size} points are more than {MOST_POINTS}; give fewer levels, or random_search.")
        points = (dict(zip(self.names, v, strict=True)) for v in product(*(p.grid(n) for _, p, n in columns)))
        return list({tuple(point.values()): point for point in map(self._finish, points)}.values())

    # -- reading and checking configurations -----------------------------------------------------------------

    def encode(self, hparams: Hparams) -> np.ndarray:
        """Returns the codes of a configuration, shape (d,): in [0, 1], or the index for a `Choice`."""
        try:
            return np.array([p.encode(hparams[name]) for name, p in self._params.items()])
        except (KeyError, TypeError):
            return np.array([p.encode(value) for p, value in zip(self.values(), self._clean(hparams).values(), strict=True)])

    def nested(self, hparams: Hparams) -> dict[str, Any]:
        """Returns a copy of the configuration as a trainable sees it: nested dicts where names have dots."""
        return nested(hparams)

    def check(self, hparams: Mapping[str, Any]) -> None:
        """Raises UsageError unless all names are there, no others, and all values inside."""
        self._clean(hparams)

    def finish(self, hparams: Mapping[str, Any]) -> dict[str, Value]:
        """Returns the configuration checked, rounded to the lattice and repaired, names in their order."""
        return self._finish(self._clean(hparams))

    def _known(self, hparams: Mapping[str, Any]) -> dict[str, Value]:
        """Returns the values checked and rounded, flat, in the order of the space; names may be missing."""
        if not isinstance(hparams, Mapping):
            raise UsageError(
                f"hyperparameters {show(hparams)} are not a dict; give values by name, for example {self._example()}."
            )
        flat = hparams if hparams.keys() == self._params.keys() else flatten(hparams)
        self._refuse_unknown(flat)
        known = {}
        for name, p in self._params.items():
            if name in flat:
                p.check(name, flat[name])
                known[name] = p.snap(plain(flat[name]))
        return known

    def _clean(self, hparams: Mapping[str, Any]) -> dict[str, Value]:
        known = self._known(hparams)
        if len(known) < len(self._params):
            missing = ", ".join(repr(name) for name in self.names if name not in known)
            raise UsageError(f"the hyperparameters lack {missing}; give all of {', '.join(self.names)}.")
        return known

    def _refuse_unknown(self, given: Mapping[str, Any]) -> None:
        for name in given:
            if name not in self._params:
                near = did_you_mean(name, self.names)
                raise UsageError(f"unknown hyperparameter {name!r}; the space has {', '.join(self.names)}.{near}")

    def _example(self) -> str:
        name, p = next(iter(self.items()))
        return repr({name: p.grid(1)[0]})

    def _finish(self, new: dict[str, Value], old: dict[str, Value] | None = None) -> dict[str, Value]:
        """Returns lattice values repaired; `old` is what they were made from: its static values stay."""
        if self.repair is None:
            return new
        owner = f"repair={self._repair_name()}"
        try:
            repaired = self.repair(nested(new))
        except Exception as error:
            raise UsageError(f"{owner} raised {type(error).__name__}: {error}; it was given {nested(new)!r}.") from error
        if not isinstance(repaired, Mapping):
            raise UsageError(f"{owner} returned {show(repaired)}; it must return the dict of all hyperparameters.")
        try:
            repaired = self._clean(repaired)
        except UsageError as error:
            raise UsageError(f"{owner} returned a wrong configuration: {error}") from None
        for name in self.static_names if old is not None else ():
            if repaired[name] != old[name]:
                raise UsageError(
                    f"{owner} changed the static {name!r} from {old[name]!r} to {repaired[name]!r}; "
                    "change parameters that are not static instead."
                )
        return repaired
