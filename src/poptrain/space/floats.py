"""Real parameters: on a linear scale, on a logarithmic one, and on the logarithmic scale of 1 - x.

The codecs are exact at both ends, and on the lattice between them. A lattice value has 12 digits, counted from the leading
digit of the range's width, or of the value itself if a logarithmic range is wider than a factor of 2. So it is short to read,
and it survives the logarithm and the exponential. Where doubles are coarser than that, every double is a lattice value. Both
bounds are lattice values exactly as they were passed, and a value that is nearer to a bound than half a step becomes the bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from poptrain.core.answering import answering_class
from poptrain.core.errors import UsageError
from poptrain.core.facts import is_number
from poptrain.space.bounded import Bounded
from poptrain.space.parameter import Given, plain, show

DIGITS = 12
LARGEST, SMALLEST = 1e100, 1e-100
SLACK = 4e-13  # relative: less than half a step of 12 digits, more than the error of a logarithmic codec


class _Real(Bounded):
    """A real number: all but the scale."""

    kind = "a number"
    _width: float  # of the range
    _decimals: int | None  # of the lattice, after the point; None: every double
    _near: float  # half a step: the distance at which a value becomes the bound

    def _number(self, argument: str, value: Given) -> float:
        number = super()._number(argument, value)
        if number and not SMALLEST <= abs(number) <= LARGEST:
            raise UsageError(
                f"{type(self).__name__}: {argument}={show(value)} is too small or too large: "
                f"its absolute value must be from {SMALLEST} to {LARGEST}; tune a rescaled hyperparameter instead."
            )
        return float(number) + 0.0  # never -0.0

    def _prepare(self) -> None:
        """Chooses the lattice."""
        width = self.high - self.low
        decimals, near = None, 0.0
        if width:
            digits = DIGITS - 1 - math.floor(math.log10(width))
            step = 10.0**-digits
            if step >= 4 * math.ulp(max(abs(self.low), abs(self.high))):
                decimals, near = digits, step / 2
        self._set(_width=width, _decimals=decimals, _near=near)
        self._set(levels=None if width else 1, _additive=self.low < 0 < self.high)

    def _ends(self, low: float, high: float) -> tuple[float, float]:
        return self.encode(low), self.encode(high)

    def encode(self, value: Given) -> float:
        if not self._width:
            return 0.5
        if value <= self.low:
            return 0.0
        return 1.0 if value >= self.high else self._unit(float(value))

    def decode(self, u: float) -> float:
        if u != u:
            raise UsageError(f"{self!r} cannot decode NaN; pass a number from 0 to 1.")
        if u <= 0:
            return self.low
        return self.high if u >= 1 else self.snap(self._position(u))

    def snap(self, value: Given) -> float:
        low, high, x = self.low, self.high, float(value)
        if x != x:
            raise UsageError(f"{self!r} has no value near NaN; pass a number from {low!r} to {high!r}.")
        if x <= low:
            return low
        if x >= high:
            return high
        x, near = self._rounded(x)
        if x - low <= near:
            return low
        return high if high - x <= near else x + 0.0  # never -0.0

    def _rounded(self, x: float) -> tuple[float, float]:
        return (x if self._decimals is None else round(x, self._decimals)), self._near

    def contains(self, value: Given) -> bool:
        value = plain(value)
        if not is_number(value):
            return False
        low, high = self.low, self.high
        inside: bool = low <= value <= high or low - self._rounded(low)[1] <= value <= high + self._rounded(high)[1]
        return inside

    def shift(self, value: Given, delta: float, dither: float = 0.5) -> float:
        return self.decode(self.encode(value) + delta)

    def _perturb(self, value: Given, factor: float, u: float) -> float:
        """Multiplies and clips. It adds instead where a product cannot change (0), or where the bounds have two signs."""
        x = self._times(value, factor)
        up = factor > 1 if x == value or self._additive else x > value
        if x != value and not self._additive:
            moved = self.snap(x)
            if moved != value or not self.low < x < self.high:
                return moved
        return self.snap(value + (abs(factor - 1) if up else -abs(factor - 1)) * self._width)

    def _times(self, value: float, factor: float) -> float:
        return value * factor


@answering_class
@final
@dataclass(frozen=True, repr=False)
class Uniform(_Real):
    """A real number on a linear scale, from `low` to `high`.

    Args:
        low, high: the bounds, both included; equal bounds make a constant.
        init: (low, high) of the first values; default the whole range.
        static: never changed after the first draw.

    >>> Uniform(0.8, 0.99).encode(0.895)
    0.5
    """

    def _unit(self, x: float) -> float:
        return (x - self.low) / self._width

    def _position(self, u: float) -> float:
        return self.low + u * self._width


class _Logarithmic(_Real):
    """A real number whose codec takes a logarithm."""

    _log: float  # of the ratio of the bounds


@answering_class
@final
@dataclass(frozen=True, repr=False)
class LogUniform(_Logarithmic):
    """A positive real number on a logarithmic scale: a learning rate, a penalty. The arguments are those of `Uniform`.

    >>> LogUniform(1e-4, 1e-1).grid(4)
    [0.0001, 0.001, 0.01, 0.1]
    """

    def _prepare(self) -> None:
        if self.low <= 0:
            raise UsageError(f"LogUniform: low={self.low!r} has no logarithm; pass low > 0 or use Uniform.")
        super()._prepare()
        self._set(_log=math.log1p(self._width / self.low))

    def _rounded(self, x: float) -> tuple[float, float]:
        if self.high <= 2 * self.low:
            return super()._rounded(x)
        return float(f"{x:.{DIGITS - 1}e}"), SLACK * x

    def _unit(self, x: float) -> float:
        return math.log1p((x - self.low) / self.low) / self._log

    def _position(self, u: float) -> float:
        return self.low + self.low * math.expm1(u * self._log)


@answering_class
@final
@dataclass(frozen=True, repr=False)
class Complement(_Logarithmic):
    """A real number just below 1 on the logarithmic scale of 1 - x: a discount, a GAE λ.

    The arguments are those of `Uniform`. A perturbation multiplies 1 - x. ``high=1`` has no logarithm and is refused.

    >>> Complement(0.9, 0.999).grid(3)
    [0.9, 0.99, 0.999]
    """

    def _prepare(self) -> None:
        if self.low < 0:
            raise UsageError(f"Complement: low={self.low!r} is below 0; pass 0 <= low or use Uniform.")
        if self.high > 1 - 1e-9:
            raise UsageError(
                f"Complement: high={self.high!r} is too near to 1 for a logarithm of 1 - high; "
                "pass high <= 1 - 1e-9, for example 0.9999, or use Uniform."
            )
        super()._prepare()
        self._set(_log=-math.log1p(-self._width / (1 - self.low)))

    def _unit(self, x: float) -> float:
        return -math.log1p(-(x - self.low) / (1 - self.low)) / self._log

    def _position(self, u: float) -> float:
        return self.low - (1 - self.low) * math.expm1(-u * self._log)

    def _times(self, value: float, factor: float) -> float:
        return 1 - (1 - value) * factor
