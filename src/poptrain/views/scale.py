"""Scales: where the values of a hyperparameter lie between the ends of its range, on the scale that it is tuned on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log10, nan

import numpy as np

from poptrain.core import Value
from poptrain.core.arguments import is_finite
from poptrain.core.facts import is_number
from poptrain.core.gathered import Floats

LEAST = 1e-16  # distance from 1
_LOG = ("LogUniform", "LogInt")


@dataclass(frozen=True)
class Scale:
    """One hyperparameter's axis. `kind` is linear, log, nines (0.9, 0.99, 0.999 … equally far apart), ordinal or options."""

    kind: str
    low: float = 0.0  # of the range; of numbers only
    high: float = 1.0
    options: tuple[Value, ...] = ()
    bounded: bool = True  # False: the range was not recorded, and is that of the values

    @property
    def listed(self) -> bool:
        """True if its values are listed, not numbers in a range."""
        return self.kind in ("ordinal", "options")

    def place(self, value: Value) -> float | None:
        """Returns where a value lies on the axis: the number, the nines, the index of the option; None if nowhere."""
        if self.listed:
            return next((float(i) for i, option in enumerate(self.options) if key_of(option) == key_of(value)), None)
        if not is_finite(value) or (self.kind == "log" and value <= 0):
            return None
        return nines(value) if self.kind == "nines" else float(value)

    def places(self, values: Sequence[Value]) -> Floats:
        """Returns `place` of each value, NaN if nowhere; shape (n,), float."""
        if self.listed:
            places = {key_of(option): float(index) for index, option in reversed([*enumerate(self.options)])}
            return np.array([places.get(key_of(value), nan) for value in values])
        numbers = np.array([value if type(value) is float or is_finite(value) else nan for value in values], float)
        numbers[~np.isfinite(numbers) | ((self.kind == "log") & (numbers <= 0))] = nan
        return -np.log10(np.maximum(1 - numbers, LEAST)) if self.kind == "nines" else numbers

    def units(self, values: Sequence[Value]) -> Floats:
        """Returns where values lie between the ends of the range, from 0 to 1.

        NaN if nowhere, and for a range of one value; shape (n,), float.
        """
        places = self.places(values)
        low, high = (0.0, len(self.options) - 1.0) if self.listed else (self.low, self.high)
        if self.kind == "nines":
            low, high = nines(low), nines(high)
        elif self.kind == "log":
            places, low, high = np.log10(places), log10(low), log10(high)
        return (places - low) / (high - low) if high > low else np.full(len(places), nan)

    def ticks(self) -> list[float]:
        """Returns round values for an axis of nines between the bounds, more of them where they are few."""
        low, high = self.low, self.high
        ticks = [1 - 10.0**-n for n in range(1, 13) if low <= 1 - 10.0**-n <= high]
        if len(ticks) < 3:
            ticks += [1 - 0.5 * 10.0**-n for n in range(0, 13) if low <= 1 - 0.5 * 10.0**-n <= high]
        return sorted({round(tick, 13) for tick in ticks}) if len(ticks) > 1 else [low, high]


def scale_of(kind: Mapping[str, object], values: Iterable[Value]) -> Scale:
    """Returns the scale of a hyperparameter.

    Args:
        kind: its description, as `index.space_of` has it; {} if there is none.
        values: all that occurred, for what the description does not say.
    """
    known = list(values)
    seen = {key: key[1] for key in dict.fromkeys(zip(map(type, known), known, strict=True)) if key[1] is not None}
    options, low, high = kind.get("options"), kind.get("low"), kind.get("high")
    numbers = [value for value in seen.values() if is_number(value)]
    if isinstance(options, (list, tuple)) or len(numbers) < len(seen):
        described = options if isinstance(options, (list, tuple)) else ()
        listed = tuple({**{key_of(option): option for option in described}, **seen}.values())
        return Scale("ordinal" if kind.get("type") == "Ordinal" else "options", options=listed)
    if is_number(low) and is_number(high) and low < high:
        return _ranged(kind.get("type"), low, high, bounded=True)
    finite = [value for value in numbers if is_finite(value)] or [0.0]
    return _ranged(kind.get("type"), min(finite), max(finite), bounded=False)


def _ranged(type: object, low: float, high: float, bounded: bool) -> Scale:
    if type in _LOG and low > 0:
        return Scale("log", low, high, bounded=bounded)
    return Scale("nines" if type == "Complement" and high < 1 else "linear", low, high, bounded=bounded)


def nines(value: float) -> float:
    """Returns how many nines a value below 1 has.

    >>> round(nines(0.999), 9)
    3.0
    """
    return -log10(max(1 - value, LEAST))


def key_of(value: Value) -> tuple[type, Value]:
    """Returns what tells values apart: True, 1 and 1.0 are three."""
    return type(value), value
