"""The space of configurations: named parameters, and a repair across them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import final

import numpy as np
from numpy.random import Generator

from poptrain.core import Hparams, Json, Value, markup
from poptrain.core.answering import answering, answering_class
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.facts import is_number
from poptrain.core.user_objects import named
from poptrain.space.checks import check_factors, check_number, check_parameter, with_dotted_names
from poptrain.space.parameter import Given, Parameter, plain, show
from poptrain.space.spread import latin_hypercube

LARGEST_GRID = 1_000_000  # points

Factors = Sequence[float] | Mapping[str, Given]  # of a perturbation: for all parameters, or by (nested) name
Nested = dict[str, Given]  # a configuration as a trainable sees it: values, and dicts of the same kind


@answering
def nested(hparams: Mapping[str, Value]) -> Nested:
    """Returns hyperparameters as a trainable sees them: names with dots become nested dicts.

    >>> nested({"optimizer.lr": 0.1, "seed": 1})
    {'optimizer': {'lr': 0.1}, 'seed': 1}
    """
    tree: Nested = {}
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


@answering_class
@final
class Space(Mapping[str, Parameter]):
    """Named parameters in an order: a mapping from flat names to parameters, immutable and hashable.

    Names may be nested, as dicts (``optimizer={"lr": …}``) or with dots (``{"optimizer.lr": …}``). Configurations are flat.
    Every method that makes one ends in `finish`, so it is on the lattice, repaired and checked.

    Args:
        mapping: parameters by name, for names that are not Python identifiers.
        repair: a pure function hparams -> hparams, for conditions across parameters. It gets a copy, nested as for a
            trainable, and may change any value inside the bounds; after the first draw it must keep static ones.
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
        mapping: Mapping[str, Given] | None = None,
        /,
        *,
        repair: Callable[[Nested], Mapping[str, Given]] | None = None,
        **params: Given,
    ):
        if mapping is not None and not isinstance(mapping, Mapping):
            raise UsageError(
                f"Space: got {show(mapping)}; pass parameters by name, for example Space(lr=LogUniform(1e-4, 1e-1))."
            )
        if repair is not None and not callable(repair):
            raise UsageError(f"Space: repair={repair!r} is not callable; pass a function from hparams to hparams.")
        flat = with_dotted_names(mapping or {})
        for name, parameter in with_dotted_names(params).items():
            if name in flat:
                raise UsageError(f"Space: the name {name!r} appears twice; each parameter needs a name of its own.")
            flat[name] = parameter
        if not flat:
            raise UsageError("Space() has no parameters; pass at least one, for example Space(lr=LogUniform(1e-4, 1e-1)).")
        for name, parameter in flat.items():
            check_parameter(name, parameter)
            for end in range(len(name)):
                if name[end] == "." and name[:end] in flat:
                    raise UsageError(f"Space: {name[:end]!r} is a parameter and contains {name!r}; rename one of them.")
        self._params: dict[str, Parameter] = flat
        self.repair = repair
        self.names = tuple(flat)
        self.static_names = tuple(name for name in flat if flat[name].static)
        self._free = tuple((name, parameter) for name, parameter in flat.items() if not parameter.static)
        self._text = json.dumps(self.describe())
        self._checked: tuple[object, dict[str, tuple[float, ...]]] = (None, {})  # the factors that were checked last

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

    def _repr_html_(self) -> str:
        rows = [(name, repr(parameter)) for name, parameter in self.items()]
        return markup.block(f"Space of {counted(len(self), 'hyperparameter')}", markup.table(("name", "values"), rows))

    def describe(self) -> dict[str, Json]:
        """Returns the definition as JSON. It is the same in every process, so fingerprints use it."""
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

    def complete(self, partial: Mapping[str, Given], generator: Generator) -> dict[str, Value]:
        """Returns the given values, checked and rounded, and samples the others (always the same for one generator)."""
        return self._completed(self._known(partial), generator.random(len(self)).tolist())

    def spread(self, partials: Sequence[Mapping[str, Given]], generator: Generator) -> list[dict[str, Value]]:
        """Returns as many first configurations as `partials` has entries; together they cover the `init` ranges.

        They are a Latin hypercube: of n configurations, each n-th part of every range has one (McKay, Beckman and Conover 1979).

        Args:
            partials: the given values of each configuration, which are kept; {} for a whole draw.
        """
        units = latin_hypercube(generator, len(partials), len(self)).tolist()
        return [self._completed(self._known(partial), row) for partial, row in zip(partials, units, strict=True)]

    def _completed(self, given: Mapping[str, Value], units: Sequence[float]) -> dict[str, Value]:
        """Returns the given values, and for each other name the first value at its unit."""
        pairs = zip(self._params.items(), units, strict=True)
        return self._finish({name: given[name] if name in given else p._first(u) for (name, p), u in pairs})

    def perturb(
        self,
        hparams: Hparams,
        generator: Generator,
        factors: Factors = (0.8, 1.2),
        resample: float = 0.0,
    ) -> dict[str, Value]:
        """Returns the configuration with a changed value of every parameter that is not static, independently.

        Args:
            factors: one of them is drawn uniformly for each parameter. A sequence holds for all parameters; a mapping has one
                for each name that is not static.
            resample: the probability of a new draw from the whole range instead.
        """
        return self.moved(self._clean(hparams), generator, factors, check_number("resample", resample, 1))

    def moved(self, old: Hparams, generator: Generator, factors: Factors, resample: float) -> dict[str, Value]:
        """Returns `perturb` of a configuration that this space made, such as that of a task: it is not checked again."""
        each, new = self._factors(factors), dict(old)
        draws = generator.random((len(self._free), 3)).tolist()
        for (name, p), (coin, pick, u) in zip(self._free, draws, strict=True):
            new[name] = p._draw(u) if coin < resample else p._perturb(old[name], each[name][int(pick * len(each[name]))], u)
        return self._finish(new, old)

    def _factors(self, factors: Factors) -> dict[str, tuple[float, ...]]:
        """Returns the factors of every parameter that is not static, by name."""
        if type(factors) is tuple and factors == self._checked[0]:
            return self._checked[1]  # a population always has the same factors
        if not isinstance(factors, Mapping):
            each = dict.fromkeys((name for name, _ in self._free), check_factors(factors))
            self._checked = (factors, each)
            return each
        flat = with_dotted_names(factors)
        self._refuse_unknown(flat)
        missing = [name for name, _ in self._free if name not in flat]
        if missing:
            raise UsageError(f"perturb: the factors lack {missing[0]!r}; pass factors for {', '.join(self.names)}.")
        return {name: check_factors(flat[name]) for name, _ in self._free}

    def add(self, hparams: Hparams, generator: Generator, sd: float, resample: float = 0.0) -> dict[str, Value]:
        """Returns the configuration plus noise from N(0, sd) in encoded units, clipped.

        Static parameters keep their value, and so does a `Choice` that is not redrawn. Discrete values are rounded at random
        and right on average, so that they also change if `sd` is small.

        Args:
            resample: for each parameter on its own, the probability of a new draw from the whole range instead.
        """
        sd = check_number("sd", sd, math.inf)
        resample = check_number("resample", resample, 1)
        return self.added(self._clean(hparams), generator, sd, resample)

    def added(self, old: Hparams, generator: Generator, sd: float, resample: float) -> dict[str, Value]:
        """Returns `add` to a configuration that this space made, such as that of a task: it is not checked again."""
        new, count = dict(old), len(self._free)
        normals, dithers = generator.standard_normal(count).tolist(), generator.random(count).tolist()
        redrawn: list[float | None] = [None] * count
        if resample:
            coins, units = generator.random((2, count)).tolist()
            redrawn = [unit if coin < resample else None for coin, unit in zip(coins, units, strict=True)]
        for (name, p), normal, dither, unit in zip(self._free, normals, dithers, redrawn, strict=True):
            new[name] = p.shift(old[name], sd * normal, dither) if unit is None else p._draw(unit)
        return self._finish(new, old)

    def redraw(self, hparams: Hparams, generator: Generator) -> dict[str, Value]:
        """Returns the configuration with every parameter that is not static drawn from its whole range."""
        return self.perturb(hparams, generator, resample=1.0)

    def decode(self, units: Sequence[float] | np.ndarray) -> dict[str, Value]:
        """Returns the configuration of codes, shape (d,)."""
        units = np.asarray(units, float)
        if units.shape != (len(self),):
            raise UsageError(
                f"decode: got codes of shape {units.shape}; pass one for each of the {counted(len(self), 'parameter')}."
            )
        return self._finish({name: p.decode(u) for (name, p), u in zip(self.items(), units.tolist(), strict=True)})

    def grid(self, levels: int | Mapping[str, int]) -> list[dict[str, Value]]:
        """Returns all combinations of the parameters' grids, each once; the last name changes fastest.

        Args:
            levels: the number of values of each parameter, or by name. A discrete parameter that is left out has all its
                values. A `Choice` always has all its options.
        """
        given = with_dotted_names(levels) if isinstance(levels, Mapping) else dict.fromkeys(self.names, levels)
        self._refuse_unknown(given)
        columns = []
        for name, p in self.items():
            n = plain(given.get(name, p.levels))
            if n is None:
                raise UsageError(
                    f"grid: levels has no {name!r}, which has a continuum of values; pass levels={{{name!r}: 5, …}}."
                )
            if not is_number(n) or n < 1 or n != math.floor(n):
                raise UsageError(f"grid: levels={n!r} for {name!r} is not a whole number from 1; pass for example 5.")
            columns.append((name, p, int(n)))
        size = math.prod(n if p.levels is None else min(n, p.levels) for _, p, n in columns)
        if size > LARGEST_GRID:
            raise UsageError(f"grid: {counted(size, 'point')} are more than {LARGEST_GRID:,}; use fewer levels.")
        points = (dict(zip(self.names, v, strict=True)) for v in product(*(p.grid(n) for _, p, n in columns)))
        return list({tuple(point.values()): point for point in map(self._finish, points)}.values())

    # -- reading and checking configurations -----------------------------------------------------------------

    def encode(self, hparams: Hparams) -> np.ndarray:
        """Returns the codes of a configuration, shape (d,): in [0, 1], or the index for a `Choice`."""
        try:
            return np.array([p.encode(hparams[name]) for name, p in self._params.items()])
        except (KeyError, TypeError):
            return np.array([p.encode(value) for p, value in zip(self.values(), self._clean(hparams).values(), strict=True)])

    def nested(self, hparams: Hparams) -> Nested:
        """Returns a copy of the configuration as a trainable sees it, with nested dicts where names have dots."""
        return nested(hparams)

    def check(self, hparams: Mapping[str, Given]) -> None:
        """Raises UsageError unless the names are those of the space and all values are inside the bounds."""
        self._clean(hparams)

    def finish(self, hparams: Mapping[str, Given]) -> dict[str, Value]:
        """Returns the configuration checked, rounded to the lattice and repaired, with the names in their order."""
        return self._finish(self._clean(hparams))

    def _known(self, hparams: Mapping[str, Given]) -> dict[str, Value]:
        """Returns the values checked and rounded, flat, in the order of the space. Names may be missing."""
        if not isinstance(hparams, Mapping):
            raise UsageError(
                f"hyperparameters {show(hparams)} are not a dict; pass values by name, for example {self._example()}."
            )
        flat = hparams if hparams.keys() == self._params.keys() else with_dotted_names(hparams)
        self._refuse_unknown(flat)
        known = {}
        for name, p in self._params.items():
            if name in flat:
                p.check(name, flat[name])
                known[name] = p.snap(plain(flat[name]))
        return known

    def _clean(self, hparams: Mapping[str, Given]) -> dict[str, Value]:
        known = self._known(hparams)
        if len(known) < len(self._params):
            missing = ", ".join(repr(name) for name in self.names if name not in known)
            raise UsageError(f"the hyperparameters lack {missing}; pass all of {', '.join(self.names)}.")
        return known

    def _refuse_unknown(self, given: Mapping[str, Given]) -> None:
        for name in given:
            if name not in self._params:
                near = did_you_mean(name, self.names)
                raise UsageError(f"unknown hyperparameter {name!r}; the space has {', '.join(self.names)}.{near}")

    def _example(self) -> str:
        name, p = next(iter(self.items()))
        return repr({name: p.grid(1)[0]})

    def _finish(self, new: dict[str, Value], old: Hparams | None = None) -> dict[str, Value]:
        """Returns lattice values after the repair; `old` is the configuration that they come from, with its static values."""
        if self.repair is None:
            return new
        owner = f"repair={self._repair_name()}"
        try:
            repaired = self.repair(nested(new))
        except Exception as error:
            raise UsageError(f"{owner} raised {named(error)}; it got {nested(new)!r}.") from error
        if not isinstance(repaired, Mapping):
            raise UsageError(f"{owner} returned {show(repaired)}; it must return the dict of all hyperparameters.")
        try:
            repaired = self._clean(repaired)
        except UsageError as error:
            raise UsageError(f"{owner} returned a wrong configuration: {error}") from None
        for name in self.static_names:
            if old is not None and repaired[name] != old[name]:
                raise UsageError(
                    f"{owner} changed the static {name!r} from {old[name]!r} to {repaired[name]!r}; "
                    "change parameters that are not static instead."
                )
        return repaired
