"""Lines of administration: what their fields must be, so that every reader can rely on it. Unknown types and fields are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from poptrain.core import Json
from poptrain.core.wellformed import MAX_SEATS, MAX_WHOLE

COMPLETE = "every member reached its last step"  # the reason in `end` of a run that nothing else ended
MOST_NAMES = 1 << 20  # checkpoints in one line of `gc`
DEEPEST = 60  # levels of a description


def _whole(value: Json) -> bool:
    return type(value) is int and 0 <= value < MAX_WHOLE


def _budget(value: Json) -> bool:
    return value is None or (type(value) is int and -MAX_WHOLE < value < MAX_WHOLE)


def _text(value: Json) -> bool:
    return isinstance(value, str)


def _texts(value: Json) -> bool:
    return isinstance(value, list) and len(value) <= MOST_NAMES and all(isinstance(each, str) for each in value)


def _object(value: Json) -> bool:
    return value is None or isinstance(value, Mapping)


_FIELDS: Mapping[str, Mapping[str, tuple[Callable[[Json], bool], str]]] = {
    "run": {
        "seed": (lambda value: type(value) is int and value >= 0, "a whole number from 0"),
        "mode": (lambda value: value in ("max", "min"), "'max' or 'min'"),
        "metric": (_text, "a text"),
        "trainable": (_text, "a text"),
        "code": (lambda value: value is None or _text(value), "a text"),
        "seats": (lambda value: type(value) is int and 0 <= value <= MAX_SEATS, "a whole number"),
        "static": (_texts, "a list of texts"),
        "budget": (_budget, "a whole number, or null"),
        "file": (_object, "an object, or null"),
        "versions": (_object, "an object"),
        "stop": (_object, "an object"),
    },
    "budget": {"budget": (_budget, "a whole number, or null")},
    "gc": {"ids": (_texts, "a list of texts")},
    "open": {"versions": (_object, "an object")},
    "end": {"best": (_whole, "a whole number"), "reason": (_text, "a text"), "evidence": (_text, "a text")},
}
_NEEDED = {"budget": ("budget",), "gc": ("ids",)}


def check_note(type: str, data: Json, *, first: bool) -> None:
    """Raises a ValueError if a line of administration does not hold what its type promises.

    Args:
        first: it is the first line of the log, which must be of the type `run`; no other line may be.
    """
    if first != (type == "run"):
        raise ValueError("the first line, and no other one, is of the type run")
    if not isinstance(data, Mapping):
        raise ValueError(f"{type} is not an object")
    for name in _NEEDED.get(type, ()):
        if name not in data:
            raise ValueError(f"{type} has no {name}")
    for name, (fits, expected) in _FIELDS.get(type, {}).items():
        if name in data and not fits(data[name]):
            raise ValueError(f"{type} has {name}={data[name]!r:.80}, expected {expected}")
    if _depth(data) > DEEPEST:
        raise ValueError(f"{type} has more than {DEEPEST} levels")


def _depth(value: Json) -> int:
    """Returns the levels of a value, and stops to count a little after the limit."""
    level, levels = [value], 0
    while level and levels <= DEEPEST + 1:
        levels += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return levels


def in_short(error: Exception) -> str:
    """Returns what is wrong with a line; names in it may be of any length."""
    text = str(error) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:299]}…"
