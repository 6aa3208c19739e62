"""What parameters between two bounds share: checked bounds, the `init` range, grids. Abstract."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from poptrain.core import Value
from poptrain.core.errors import UsageError
from poptrain.space.parameter import Parameter, check_static, is_number, parses, plain, show


@dataclass(frozen=True, repr=False)
class Bounded(Parameter):
    low: float
    high: float
    init: tuple[float, float] | None = None
    static: bool = False
    kind: ClassVar[str]  # what a value is called in messages

    def __post_init__(self) -> None:
        owner = type(self).__name__
        low, high = self._number("low", self.low), self._number("high", self.high)
        if low > high:
            raise UsageError(f"{owner}: low must be below high: got low={low!r}, high={high!r}; swap them.")
        self._set(low=low, high=high)
        check_static(owner, self.static)
        self._prepare()
        self._prepare_init(owner)

    def _set(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def _number(self, argument: str, value: Any) -> float:
        """Returns a finite number as int or float; raises UsageError for everything else."""
        value, where = plain(value), f"{type(self).__name__}: {argument}={show(value)}"
        if isinstance(value, str) and parses(value):
            raise UsageError(f"{where} is a string; write it without the quotes: {value.strip()}.")
        if not is_number(value):
            raise UsageError(f"{where} is not a number but a {type(value).__name__}; give a finite number.")
        if not -math.inf < value < math.inf:
            raise UsageError(f"{where} is not finite; give a finite number.")
        return value

    def _prepare_init(self, owner: str) -> None:
        if self.init is None:
            self._set(_init=(self.low, self.high))
        else:
            if not isinstance(self.init, tuple | list) or len(self.init) != 2:
                raise UsageError(f"{owner}: init={self.init!r} is not a pair; give init=(low, high) of the first values.")
            init = low, high = tuple(self._number("init", value) for value in self.init)
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
        """Returns the codes between which a uniform draw gives every value from low to high."""

    @abstractmethod
    def _unit(self, x: float) -> float:
        """Returns the code of a position inside the bounds; increasing."""

    @abstractmethod
    def _position(self, u: float) -> float:
        """Returns the inverse of `_unit`, before rounding."""

    def _first(self, u: float) -> Value:
        (start, end), (low, high) = self._range, self._init
        return min(max(self.decode(start + u * (end - start)), low), high)

    def _draw(self, u: float) -> Value:
        return self.decode(u)

    def grid(self, n: int) -> list[Value]:
        if self.levels is not None and n >= self.levels:
            return [self.low + i for i in range(self.levels)]
        start, end = self.encode(self.low), self.encode(self.high)
        codes = [start + (end - start) * i / (n - 1) for i in range(n)] if n > 1 else [0.5]
        return list(dict.fromkeys(self.decode(u) for u in codes))

    def _why_not(self, value: Any) -> str:
        kind = self.kind
        if isinstance(value, str) and parses(value):
            return f"is a string; write it without the quotes: {value.strip()}."
        if not is_number(value):
            return f"is not {kind} but a {type(value).__name__}; give {kind} from {self.low!r} to {self.high!r}."
        if math.isfinite(value) and self.low <= value <= self.high:
            return f"is not a whole number; give {math.floor(value)} or {math.ceil(value)}, or use Uniform."
        return f"is outside {self!r}; give {kind} from {self.low!r} to {self.high!r}, or widen the bounds."

    def describe(self) -> dict[str, Any]:
        init = None if self.init is None else list(self.init)
        return {
            "type": type(self).__name__,
            "low": self.low,
            "high": self.high,
            "init": init,
            "static": self.static,
        }
