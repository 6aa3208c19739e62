"""Parameters that are one of a few listed options: without an order, and with one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from poptrain.core import Json, Value
from poptrain.core.answering import answering_class
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.space.parameter import Given, Parameter, check_static, plain


class _ListedBase(Parameter):
    """What a parameter with options computes once. (Outside of the dataclass below, so that these are not fields.)"""

    levels: int
    _index: dict[Value, int]  # the place of each option


@dataclass(frozen=True, repr=False, init=False)
class _Listed(_ListedBase):
    """One of several options: all but their order."""

    options: tuple[Value, ...]
    init: tuple[Value, ...] | None
    static: bool

    def __init__(self, *options: Value, init: tuple[Value, ...] | None = None, static: bool = False):
        owner = type(self).__name__
        if not options:
            raise UsageError(f"{owner}() has no options; list them, for example {owner}(32, 64, 128).")
        if len(options) == 1 and isinstance(options[0], list | tuple | set | range | dict):
            raise UsageError(f"{owner}: got one {type(options[0]).__name__} instead of options; write {owner}(*{options[0]!r}).")
        options = tuple(self._option(owner, option) for option in options)
        index: dict[Value, int] = {}
        for place, option in enumerate(options):
            if option in index:
                twin = options[index[option]]
                raise UsageError(
                    f"{owner}: the options {twin!r} and {option!r} are equal; drop one (in Python True == 1 == 1.0)."
                )
            index[option] = place
        check_static(owner, static)
        for name, value in {"options": options, "static": static, "levels": len(options), "_index": index}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "init", self._checked_init(owner, init))

    @staticmethod
    def _option(owner: str, option: Given) -> Value:
        value = plain(option)
        if value is not None and not isinstance(value, bool | int | float | str):
            raise UsageError(
                f"{owner}: the option {value!r} is a {type(value).__name__}; "
                "pass a str, int, float, bool or None, and let your trainable look up the object by it."
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{owner}: the option {value!r} is not finite; pass None or a finite number.")
        return value

    def _checked_init(self, owner: str, init: object) -> tuple[Value, ...] | None:
        if init is None:
            return None
        if not isinstance(init, tuple | list) or not init:
            raise UsageError(f"{owner}: init={init!r} is not a tuple of options; pass for example init={self.options[:1]!r}.")
        for option in init:
            if not self.contains(option):
                raise UsageError(f"{owner}: init={init!r} has {option!r}, which is not an option; choose from {self._all()}.")
        return tuple(dict.fromkeys(self.snap(option) for option in init))

    def _all(self) -> str:
        return ", ".join(map(repr, self.options))

    def _place(self, value: Given) -> int:
        value = plain(value)
        try:
            place = self._index[value]
            if isinstance(value, bool) == isinstance(self.options[place], bool):
                return place
        except (KeyError, TypeError):
            pass
        raise UsageError(f"{value!r} {self._why_not(value)}")

    def snap(self, value: Given) -> Value:
        return self.options[self._place(value)]

    def contains(self, value: Given) -> bool:
        try:
            self._place(value)
        except UsageError:
            return False
        return True

    def _why_not(self, value: Given) -> str:
        near = did_you_mean(value, (o for o in self.options if isinstance(o, str))) if isinstance(value, str) else ""
        return f"is not an option; choose from {self._all()}.{near}"

    def _first(self, u: float) -> Value:
        options = self.init or self.options
        return options[int(u * len(options))]

    def _draw(self, u: float) -> Value:
        return self.options[int(u * self.levels)]

    def describe(self) -> dict[str, Json]:
        init = None if self.init is None else list(self.init)
        return {
            "type": type(self).__name__,
            "options": list(self.options),
            "init": init,
            "static": self.static,
        }


@answering_class
@final
@dataclass(frozen=True, repr=False, init=False)
class Choice(_Listed):
    """One of a few options without an order: str, int, float, bool or None.

    Its code is the index of the option, as a float; distances between codes have no meaning. An option has no neighbours, so
    a perturbation draws from all options, and `shift` changes nothing.

    Args:
        options: the options, all different.
        init: the options of the first values; default all.
        static: never changed after the first draw.

    >>> Choice("crop", "flip").encode("flip")
    1.0
    """

    numeric = False

    def encode(self, value: Given) -> float:
        return float(self._place(value))

    def decode(self, u: float) -> Value:
        if u != u:
            raise UsageError(f"{self!r} cannot decode NaN; pass the index of an option.")
        return self.options[math.floor(min(max(u, 0), self.levels - 1) + 0.5)]

    def shift(self, value: Given, delta: float, dither: float = 0.5) -> Value:
        return self.snap(value)

    def grid(self, n: int) -> list[Value]:
        return list(self.options)

    def _perturb(self, value: Given, factor: float, u: float) -> Value:
        return self._draw(u)


@answering_class
@final
@dataclass(frozen=True, repr=False, init=False)
class Ordinal(_Listed):
    """One of a few values in an order: a perturbation moves to a neighbour, up for a factor above 1.

    It is encoded like the whole number of its place. The arguments are those of `Choice`.

    >>> Ordinal(32, 64, 128).shift(32, 0.4)
    64
    """

    def encode(self, value: Given) -> float:
        return (self._place(value) + 0.5) / self.levels

    def decode(self, u: float) -> Value:
        return self._at(u, 0.5)

    def _at(self, u: float, dither: float) -> Value:
        if u != u:
            raise UsageError(f"{self!r} cannot decode NaN; pass a number from 0 to 1.")
        place = math.floor(min(max(u, 0.0), 1.0) * self.levels - 0.5 + dither)
        return self.options[min(max(place, 0), self.levels - 1)]

    def shift(self, value: Given, delta: float, dither: float = 0.5) -> Value:
        return self._at(self.encode(value) + delta, dither) if delta else self.snap(value)

    def grid(self, n: int) -> list[Value]:
        if n >= self.levels:
            return list(self.options)
        if n == 1:
            return [self.decode(0.5)]
        return [self.options[math.floor(i * (self.levels - 1) / (n - 1) + 0.5)] for i in range(n)]

    def _perturb(self, value: Given, factor: float, u: float) -> Value:
        place = self._place(value) + (factor > 1) - (factor < 1)
        return self.options[min(max(place, 0), self.levels - 1)]
