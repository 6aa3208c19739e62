"""`brief`: the repr of a value that a person may print. It fits on a screen, and has no addresses and no long numbers.

    @dataclass(frozen=True)
    class Member:
        ...
        __repr__ = brief

Fields that have their default are left out, long collections are counted, and what is large inside is only named. The views use
`in_lines` instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import fields, is_dataclass

from poptrain.core.counting import counted
from poptrain.core.fingerprint import default_of

ONE_LINE = 120  # characters from which a value takes several lines
WIDEST = 90  # characters of a collection
LARGEST = 300  # characters of another value
TEXT = 160  # characters of a text


def brief(what: object) -> str:
    """Returns a dataclass as ``Name(field=value, …)``.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Step:
    ...     score: float
    ...     ids: tuple[int, ...] = ()
    >>> brief(Step(1 / 3, tuple(range(500))))
    'Step(score=0.333333, ids=<500 values>)'
    """
    return f"{type(what).__name__}({', '.join(_fields(what))})"


def in_lines(what: object) -> str:
    """Returns the same for a value that is printed and stands in no message: with many fields it takes several lines."""
    text = brief(what)
    if len(text) <= ONE_LINE:
        return text
    lines = [""]
    for field in _fields(what):
        if lines[-1] and len(lines[-1]) + len(field) > ONE_LINE - 6:
            lines.append("")
        lines[-1] += f"{field}, "
    return "\n    ".join((f"{type(what).__name__}(", *(line.rstrip() for line in lines)))[:-1] + "\n)"


def _fields(what: object) -> Iterator[str]:
    for field in fields(what) if is_dataclass(what) else ():
        value = getattr(what, field.name)
        default = default_of(field)
        if field.repr and not (type(default) is type(value) and default == value):
            yield f"{field.name}={shown(value)}"


def shown(value: object) -> str:
    """Returns a value as the repr of another one shows it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return repr(value if len(value) <= TEXT else value[: TEXT - 1] + "…")
    if isinstance(value, (dict, tuple, list, set, frozenset)):
        return _collection(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return str(value.__qualname__)
    text = brief(value) if getattr(type(value), "__repr__", None) is in_lines else repr(value)
    if len(text) > LARGEST:
        return f"{type(value).__name__}(…)"
    return f"<{type(value).__name__}>" if " at 0x" in text else text


def _collection(values: Collection[object]) -> str:
    """Returns the values, or their number if they take more than `WIDEST` characters."""
    if len(values) <= WIDEST:
        pairs = values.items() if isinstance(values, dict) else ()
        parts = [f"{key!r}: {shown(value)}" for key, value in pairs] or list(map(shown, values))
        left, right = "()" if isinstance(values, tuple) else "[]" if isinstance(values, list) else "{}"
        comma = "," if isinstance(values, tuple) and len(values) == 1 else ""
        if len(text := f"{left}{', '.join(parts)}{comma}{right}") <= WIDEST:
            return text
    return f"<{counted(len(values), 'value')}>"
