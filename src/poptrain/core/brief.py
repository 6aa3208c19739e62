"""`brief`: the repr of a value that a person may print. It fits on a screen, and has no addresses and no long numbers.

    @dataclass(frozen=True)
    class Member:
        ...
        __repr__ = brief

Fields that have their default are left out, long collections are counted, and what is large inside is only named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

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


def _fields(what: object) -> Iterator[str]:
    for field in fields(what) if is_dataclass(what) else ():
        value = getattr(what, field.name)
        if field.repr and not _is_default(field, value):
            yield f"{field.name}={shown(value)}"


def _is_default(field: Field[Any], value: object) -> bool:
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return type(default) is type(value) and bool(default == value)


def shown(value: object) -> str:
    """Returns a value as the repr of another one shows it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return repr(value if len(value) <= TEXT else value[: TEXT - 1] + "…")
    if isinstance(value, dict):
        return _within(f"{{{', '.join(f'{key!r}: {shown(each)}' for key, each in value.items())}}}", value)
    if isinstance(value, (tuple, list, set, frozenset)):
        return _within(_listed(value), value)
    if callable(value) and hasattr(value, "__qualname__"):
        return str(value.__qualname__)
    text = repr(value)
    if len(text) > LARGEST:
        return f"{type(value).__name__}(…)"
    return f"<{type(value).__name__}>" if " at 0x" in text else text


def _listed(values: tuple[object, ...] | list[object] | set[object] | frozenset[object]) -> str:
    left, right = "()" if isinstance(values, tuple) else "[]" if isinstance(values, list) else "{}"
    comma = "," if isinstance(values, tuple) and len(values) == 1 else ""
    return f"{left}{', '.join(map(shown, values))}{comma}{right}" if len(values) <= WIDEST else " " * (WIDEST + 1)


def _within(text: str, values: dict[Any, Any] | tuple[Any, ...] | list[Any] | set[Any] | frozenset[Any]) -> str:
    """Returns a text, or the number of its values if it is too long."""
    return text if len(text) <= WIDEST else f"<{len(values)} {'value' if len(values) == 1 else 'values'}>"
