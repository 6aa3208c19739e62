"""The shared part of parameters between two bounds: checked bounds, the `init` range, grids. Abstract."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, cast

from poptrain.core import Json, Value
from poptrain.core.errors import UsageError
from poptrain.core.facts import is_number
from poptrain.space.parameter import Given, Parameter, check_static, parses, plain, show


class _BoundedBase(Parameter):
    """What a bounded parameter computes once. (Outside of the dataclass below, so that these are not fields.)"""

    _init: tuple[float, float]  # lattice values of `init`
    _range: tuple[float, float]  # codes between which the first value is drawn
    _additive: bool  # the bounds have two signs, so that a perturbation adds instead of multiplying


@dataclass(frozen=True, repr=False)
class Bounded(_BoundedBase):
    """A number between two bounds."""

    low: float
    high: float
    init: tuple[float, float] | None = None
    static: bool = False
    kind: ClassVar[str]  # the name of a value in messages

    def __post_init__(self) -> None:
        owner = type(self).__name__
        low, high = self._number("low", self.low), self._number("high", self.high)
        if low > high:
            raise UsageError(f"{owner}: low must be below high: got low={low!r}, high={high!r}; swap them.")
        self._set(low=low, high=high)
        check_static(owner, self.static)
        self._prepare()
        self._prepare_init(owner)

    def _set(self, **attributes: object) -> None:
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def _number(self, argument: str, value: Given) -> float:
        """Returns a finite number as int or float; raises UsageError for everything else."""
        value, where = plain(value), f"{type(self).__name__}: {argument}={show(value)}"
        if isinstance(value, str) and parses(value):
            raise UsageError(f"{where} is a string; write it without the quotes: {value.strip()}.")
        if not is_number(value):
            raise UsageError(f"{where} is not a number but a {type(value).__name__}; pass a finite number.")
        if not -math.inf < value < math.inf:
            raise UsageError(f"{where} is not finite; pass a finite number.")
        return cast(float, value)

    def _prepare_init(self, owner: str) -> None:
        if self.init is None:
            self._set(_init=(self.low, self.high))
        else:
            if not isinstance(self.init, tuple | list) or len(self.init) != 2:
                raise UsageError(
                    f"{owner}: init={show(self.init)} is not a pair; pass init=(low, high), the bounds of the first values."
                )
            init = low, high = self._number("init", self.init[0]), self._number("init", self.init[1])
            if low > high:
                raise UsageError(f"{owner}: init must go from low to high: got init={init!r}; swap them.")
            if not (self.contains(low) and self.contains(high)):
                raise UsageError(
                    f"{owner}: init={init!r} is not inside the bounds {self.low!r} to {self.high!r}; "
                    "narrow init or widen the bounds."
                )
            self._set(init=init, _init=(self.snap(low), self.snap(high)))
        self._set(_range=self._ends(*self._init))

    @abstractmethod
    def _prepare(self) -> None: ...

    @abstractmethod
    def _ends(self, low: float, high: float) -> tuple[float, float]:
        """Returns the codes between which a uniform draw can return every value from low to high."""

    @abstractmethod
    def _unit(self, x: float) -> float:
        """Returns the code of a position inside the bounds; increasing."""

    @abstractmethod
    def _position(self, u: float) -> float:
        """Returns the inverse of `_unit`, before rounding."""

    def _first(self, u: float) -> Value:
        (start, end), (low, high) = self._range, self._init
        return min(max(cast(float, self.decode(start + u * (end - start))), low), high)

    def _draw(self, u: float) -> Value:
        return self.decode(u)

    def grid(self, n: int) -> list[Value]:
        if self.levels is not None and n >= self.levels:
            return [self.low + i for i in range(self.levels)]
        start, end = self.encode(self.low), self.encode(self.high)
        codes = [start + (end - start) * i / (n - 1) for i in range(n)] if n > 1 else [0.5]
        return list(dict.fromkeys(self.decode(u) for u in codes))

    def _why_not(self, value: Given) -> str:
        kind = self.kind
        if isinstance(value, str) and parses(value):
            return f"is a string; write it without the quotes: {value.strip()}."
        if not is_number(value):
            return f"is not {kind} but a {type(value).__name__}; pass {kind} from {self.low!r} to {self.high!r}."
        if math.isfinite(value) and self.low <= value <= self.high:
            return f"is not a whole number; pass {math.floor(value)} or {math.ceil(value)}, or use Uniform."
        return f"is outside {self!r}; pass {kind} from {self.low!r} to {self.high!r}, or widen the bounds."

    def describe(self) -> dict[str, Json]:
        init = None if self.init is None else list(self.init)
        return {
            "type": type(self).__name__,
            "low": self.low,
            "high": self.high,
            "init": init,
            "static": self.static,
        }
