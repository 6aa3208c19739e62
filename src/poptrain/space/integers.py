"""Whole parameters: all values equally likely, or on a logarithmic scale. Each value stands for an interval of codes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from poptrain.core.answering import answering_class
from poptrain.core.errors import UsageError
from poptrain.core.facts import is_number
from poptrain.space.bounded import Bounded
from poptrain.space.parameter import Given, plain, show

LARGEST_WHOLE = 10**12


class _Whole(Bounded):
    """A whole number: all but the scale."""

    kind = "a whole number"
    low: int
    high: int
    levels: int

    def _number(self, argument: str, value: Given) -> int:
        number = super()._number(argument, value)
        if number != math.floor(number):
            raise UsageError(
                f"{type(self).__name__}: {argument}={show(value)} is not a whole number; pass an int or use Uniform."
            )
        if abs(number) > LARGEST_WHOLE:
            raise UsageError(
                f"{type(self).__name__}: {argument}={show(value)} is beyond ±{LARGEST_WHOLE}; use Uniform or LogUniform."
            )
        return int(number)

    def _prepare(self) -> None:
        self._set(levels=self.high - self.low + 1, _additive=self.low < 0 < self.high)

    def _ends(self, low: float, high: float) -> tuple[float, float]:
        return self._unit(low - 0.5), self._unit(high + 0.5)

    def encode(self, value: Given) -> float:
        if self.levels == 1:
            return 0.5
        return self._unit(min(max(value, self.low), self.high))

    def decode(self, u: float) -> int:
        return self._whole(self._position(min(max(u, 0.0), 1.0)))

    def _whole(self, x: float, dither: float = 0.5) -> int:
        """Returns the whole number inside the bounds for a position; halves are rounded up."""
        if x != x:
            raise UsageError(f"{self!r} has no value near NaN; pass a number from {self.low!r} to {self.high!r}.")
        return min(max(math.floor(x + dither), self.low), self.high)

    def snap(self, value: Given) -> int:
        return self._whole(min(max(value, self.low), self.high))

    def contains(self, value: Given) -> bool:
        value = plain(value)
        return is_number(value) and bool(self.low <= value <= self.high and value == math.floor(value))

    def shift(self, value: Given, delta: float, dither: float = 0.5) -> int:
        if not delta:
            return self.snap(value)
        return self._whole(self._position(min(max(self.encode(value) + delta, 0.0), 1.0)), dither)

    def _perturb(self, value: Given, factor: float, u: float) -> int:
        """Multiplies and rounds, or adds where a product cannot change; moves by one if the value is still the same."""
        added = self._additive or value == 0
        moved = self._whole(value + (factor - 1) * (self.high - self.low) if added else value * factor)
        if moved == value and factor != 1:
            up = factor > 1 if added else (factor > 1) == (value > 0)
            moved = self._whole(value + (1 if up else -1))
        return moved


@answering_class
@final
@dataclass(frozen=True, repr=False)
class Int(_Whole):
    """A whole number, every one from `low` to `high` equally likely. The arguments are those of `Uniform`.

    >>> Int(1, 4).grid(4), Int(1, 4).encode(1)
    ([1, 2, 3, 4], 0.125)
    """

    def _unit(self, x: float) -> float:
        return (x - self.low + 0.5) / self.levels

    def _position(self, u: float) -> float:
        return self.low + (u * self.levels - 0.5)


class _LogWhole(_Whole):
    """A whole number whose codec takes a logarithm. Each value is the middle of an interval of length 1."""

    _edge: float  # the lowest end of the intervals
    _log: float  # of the ratio of their outermost ends


@answering_class
@final
@dataclass(frozen=True, repr=False)
class LogInt(_LogWhole):
    """A positive whole number on a logarithmic scale: a batch size, a horizon. The arguments are those of `Uniform`.

    >>> LogInt(1, 10_000).grid(3)[::2]
    [1, 10000]
    """

    def _prepare(self) -> None:
        if self.low < 1:
            raise UsageError(f"LogInt: low={self.low!r} has no logarithm; pass low >= 1 or use Int.")
        super()._prepare()
        self._set(_edge=self.low - 0.5, _log=math.log((self.high + 0.5) / (self.low - 0.5)))

    def _unit(self, x: float) -> float:
        return math.log(x / self._edge) / self._log

    def _position(self, u: float) -> float:
        return self._edge * math.exp(u * self._log)
