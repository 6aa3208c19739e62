"""What every parameter can do, and how anything that a user hands over becomes a plain Python scalar."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from numpy.random import Generator

from poptrain.core import Value
from poptrain.core.errors import UsageError

_PLAIN = frozenset({bool, int, float, str, type(None)})


def plain(value: Any) -> Any:
    """Returns the Python scalar behind a numpy scalar, 0-d array or enum member; others as they are."""
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


def is_number(value: Any) -> bool:
    """True for an int or a float; a bool is not a number here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def parses(text: str) -> bool:
    """True if the text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def show(value: Any) -> str:
    """Returns the repr for a message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def check_static(owner: str, static: Any) -> None:
    """Raises UsageError unless `static` is a bool."""
    if not isinstance(static, bool):
        raise UsageError(f"{owner}: static={static!r} is not a bool; give True or False.")


class Parameter(ABC):
    """One hyperparameter: its values, their codec, and how they are drawn and moved.

    The values are a finite *lattice* of Python scalars: ``decode(encode(value)) == value`` holds exactly.
    """

    numeric: ClassVar[bool] = True  # False: unordered, the code is an index and distances mean nothing
    static: bool  # never changed after the first draw: clones keep it
    levels: int | None  # how many values there are; None: a continuum; 1: a constant
    init: tuple | None

    @abstractmethod
    def encode(self, value: Any) -> float:
        """Returns the code of a value: in [0, 1], increasing (an unordered `Choice`: its index)."""

    @abstractmethod
    def decode(self, u: float) -> Value:
        """Returns the value of a code; codes outside [0, 1] are clipped, every result is on the lattice."""

    @abstractmethod
    def snap(self, value: Any) -> Value:
        """Returns the lattice value for any number or option: rounded, clipped, a Python scalar."""

    @abstractmethod
    def contains(self, value: Any) -> bool:
        """True if the value has the right type and lies inside the bounds (but for rounding)."""

    @abstractmethod
    def shift(self, value: Any, delta: float, dither: float = 0.5) -> Value:
        """Returns the value `delta` further in encoded units, clipped.

        Args:
            dither: how far discrete values are rounded up, in [0, 1); 0.5 is to the nearest. Drawn
                uniformly, it is right on average: a small `delta` moves a coarse value sometimes, not never.
        """

    @abstractmethod
    def grid(self, n: int) -> list[Value]:
        """Returns `n` values at equal distances in encoded units, with both ends; fewer if it has fewer."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Returns the definition as JSON."""

    def sample(self, generator: Generator) -> Value:
        """Returns a first value, uniform in encoded units over the `init` range."""
        return self._first(generator.random())

    def draw(self, generator: Generator) -> Value:
        """Returns a value, uniform in encoded units over the whole range."""
        return self._draw(generator.random())

    def perturb(self, value: Any, factor: float, generator: Generator) -> Value:
        """Returns the value moved by a factor, inside the bounds (PBT paper, explore)."""
        return self._perturb(value, factor, generator.random())

    def check(self, name: str, value: Any) -> None:
        """Raises UsageError that names parameter, value, bounds and fix, unless the value is inside."""
        if not self.contains(value):
            raise UsageError(f"{name}={show(value)} {self._why_not(plain(value))}")

    # Randomness comes in as u, uniform in [0, 1), so that a space draws it for all its parameters at once.

    @abstractmethod
    def _first(self, u: float) -> Value: ...

    @abstractmethod
    def _draw(self, u: float) -> Value: ...

    @abstractmethod
    def _perturb(self, value: Any, factor: float, u: float) -> Value: ...

    @abstractmethod
    def _why_not(self, value: Any) -> str: ...

    def __repr__(self) -> str:
        rest = self.describe()
        kind = rest.pop("type")
        head = rest.pop("options", None) or (rest.pop("low"), rest.pop("high"))
        named = [f"{key}={tuple(v) if isinstance(v, list) else v!r}" for key, v in rest.items() if v]
        return f"{kind}({', '.join([*map(repr, head), *named])})"
