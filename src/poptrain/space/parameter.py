"""The interface of every parameter, and how a value that a user passes becomes a plain Python scalar."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

from numpy.random import Generator

from poptrain.core import Json, Value
from poptrain.core.errors import CallError, UsageError
from poptrain.core.other_names import PARAMETERS
from poptrain.core.user_objects import answer_of

Given = Any  # a value as a user, a log or numpy passes it; it is checked before it is used

_PLAIN = frozenset({bool, int, float, str, type(None)})


def plain(value: Given) -> Given:
    """Returns the Python scalar of a numpy scalar, 0-d array or enum member; other values as they are."""
    if type(value) in _PLAIN:
        return value
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, str):
        return str.__str__(value)
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    return value


def parses(text: str) -> bool:
    """True if the text can be read as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def show(value: object) -> str:
    """Returns the repr for a message, cut to a readable length."""
    text = answer_of(lambda: repr(value), f"a {type(value).__name__} that cannot be shown")
    return text if len(text) <= 80 else f"{text[:79]}…"


def check_static(owner: str, static: object) -> None:
    """Raises UsageError unless `static` is a bool."""
    if not isinstance(static, bool):
        raise UsageError(f"{owner}: static={static!r} is not a bool; pass True or False.")


class Parameter(ABC):
    """One hyperparameter: its values, their codec, and how they are drawn and changed.

    The values are a finite *lattice* of Python scalars: ``decode(encode(value)) == value`` holds exactly.
    """

    numeric: ClassVar[bool] = True  # False: without an order; the code is an index, and distances have no meaning
    static: bool  # never changed after the first draw: clones keep it
    levels: int | None  # the number of values; None: a continuum; 1: a constant
    init: tuple[Value, ...] | None

    def __new__(cls, *args: Given, **kwargs: Given) -> Self:
        for name in kwargs:
            if name in PARAMETERS:
                raise CallError(f"pt.{cls.__name__} has no argument {name!r}. Write {PARAMETERS[name]}.")
        return super().__new__(cls)

    @abstractmethod
    def encode(self, value: Given) -> float:
        """Returns the code of a value: in [0, 1], increasing (an unordered `Choice`: its index)."""

    @abstractmethod
    def decode(self, u: float) -> Value:
        """Returns the value of a code; codes outside [0, 1] are clipped, every result is on the lattice."""

    @abstractmethod
    def snap(self, value: Given) -> Value:
        """Returns the lattice value for any number or option: rounded and clipped, as a Python scalar."""

    @abstractmethod
    def contains(self, value: Given) -> bool:
        """True if the value has the right type and is inside the bounds (except for rounding)."""

    @abstractmethod
    def shift(self, value: Given, delta: float, dither: float = 0.5) -> Value:
        """Returns the value at a distance of `delta` in encoded units, clipped.

        Args:
            dither: the point where discrete values are rounded up, in [0, 1); 0.5 rounds to the nearest. If it is drawn
                uniformly, the move is right on average: a small `delta` then moves a coarse value sometimes instead of never.
        """

    @abstractmethod
    def grid(self, n: int) -> list[Value]:
        """Returns `n` values at equal distances in encoded units, including both ends; fewer if it has fewer."""

    @abstractmethod
    def describe(self) -> dict[str, Json]:
        """Returns the definition as JSON."""

    def sample(self, generator: Generator) -> Value:
        """Returns a first value, uniform in encoded units over the `init` range."""
        return self._first(generator.random())

    def draw(self, generator: Generator) -> Value:
        """Returns a value, uniform in encoded units over the whole range."""
        return self._draw(generator.random())

    def perturb(self, value: Given, factor: float, generator: Generator) -> Value:
        """Returns the value changed by a factor, inside the bounds (explore in the PBT paper)."""
        return self._perturb(value, factor, generator.random())

    def check(self, name: str, value: Given) -> None:
        """Raises UsageError with the parameter, the value, the bounds and the fix, unless the value is inside."""
        if not self.contains(value):
            raise UsageError(f"{name}={show(value)} {self._why_not(plain(value))}")

    # Randomness is passed as u, uniform in [0, 1), so that a space draws it for all its parameters together.

    @abstractmethod
    def _first(self, u: float) -> Value: ...

    @abstractmethod
    def _draw(self, u: float) -> Value: ...

    @abstractmethod
    def _perturb(self, value: Given, factor: float, u: float) -> Value: ...

    @abstractmethod
    def _why_not(self, value: Given) -> str: ...

    def __repr__(self) -> str:
        rest = self.describe()
        kind = rest.pop("type")
        head = rest.pop("options", None) or (rest.pop("low"), rest.pop("high"))
        named = [f"{key}={tuple(v) if isinstance(v, list) else v!r}" for key, v in rest.items() if v]
        return f"{kind}({', '.join([*map(repr, head), *named])})"
