"""Checks of what a user passes to a space: names, parameters, factors, numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from poptrain.core.arguments import check_name
from poptrain.core.errors import UsageError
from poptrain.core.facts import is_number
from poptrain.space.foreign import written_here
from poptrain.space.parameter import Given, Parameter, plain, show


def with_dotted_names(mapping: Mapping[Given, Given], prefix: str = "") -> dict[str, Given]:
    """Returns nested mappings as one dict with dotted names; raises UsageError for unusable names."""
    if getattr(mapping, "repair", None) is not None:
        raise UsageError("a Space with a repair cannot be part of another; pass the repair to the outer Space.")
    flat: dict[str, Given] = {}
    for key, value in mapping.items():
        if not isinstance(key, str) or not all(key.split(".")):
            raise UsageError(f"the name {key!r} is not usable; use a string like 'lr' or 'optimizer.lr'.")
        check_name("Space: the name", key)
        name = prefix + key
        inner = with_dotted_names(value, name + ".") if isinstance(value, Mapping) else {name: value}
        for each, item in inner.items():
            if each in flat:
                raise UsageError(f"the name {each!r} appears twice; each parameter needs a name of its own.")
            flat[each] = item
    return flat


def check_parameter(name: str, parameter: Given) -> None:
    """Raises UsageError unless it is a parameter; the message guesses which one was meant."""
    if isinstance(parameter, Parameter):
        return
    if isinstance(parameter, type) and issubclass(parameter, Parameter):
        fix = f"call it with its bounds or options: {parameter.__name__}(…)"
    elif isinstance(parameter, tuple | list | set | range):
        fix = f"did you mean {_meant(name, parameter)}?"
    elif (here := written_here(parameter)) is not None:
        raise UsageError(f"Space: {name} is a range of another library; write {here}.")
    else:
        fix = f"for a constant use Choice({show(plain(parameter))})"
    raise UsageError(f"Space: {name}={show(parameter)} is not a parameter; {fix}")


def _meant(name: str, given: tuple[Given, ...] | list[Given] | set[Given] | range) -> str:
    """Returns what a collection stands for. A list of two numbers is rather two options, and a tuple two bounds."""
    values = [plain(item) for item in given]
    inside = ", ".join(map(repr, values))
    if len(values) != 2 or not all(map(is_number, values)):
        return f"Choice({inside})"
    between = f"{_range_of(name, [float(value) for value in values])}({inside}) for all values between"
    options = f"Choice({inside}) for these two"
    return f"{between}, or {options}" if isinstance(given, tuple) else f"{options}, or {between}"


def _range_of(name: str, bounds: list[float]) -> str:
    """Returns the kind of range that two bounds stand for: logarithmic for values of which the order of magnitude matters."""
    logarithmic = re.search(r"(?<![a-z])lr(?![a-z])|learning_?rate|weight_?decay", name.lower())
    return "LogUniform" if logarithmic and min(bounds) > 0 else "Uniform"


def check_factors(factors: Given) -> tuple[float, ...]:
    """Returns the factors of a perturbation as finite floats above 0."""
    if not isinstance(factors, Sequence | np.ndarray) or isinstance(factors, str) or not len(factors):
        raise UsageError(f"perturb: factors={factors!r} are not factors; pass for example factors=(0.8, 1.2).")
    for factor in map(plain, factors):
        if not is_number(factor) or not 0 < factor < math.inf:
            raise UsageError(f"perturb: factors={factors!r} has {factor!r}; pass finite numbers above 0, for example (0.8, 1.2).")
    return tuple(map(float, factors))


def check_number(argument: str, value: Given, most: float) -> float:
    """Returns a finite float from 0 to `most`."""
    value = plain(value)
    if not is_number(value) or not 0 <= value <= most or value == math.inf:
        span = "from 0 to 1" if most == 1 else "from 0"
        raise UsageError(f"{argument}={value!r} is not a finite number {span}; pass for example {argument}=0.25.")
    return float(value)
