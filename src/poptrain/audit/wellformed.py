"""Is every field of a fact of the right type? A log with valid checksums may still hold anything that JSON can express."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import NamedTuple, get_args

from poptrain.core import Forecast, Kind, Lost, Result, Task
from poptrain.core.facts import ROLES

MAX_SEATS = 1 << 20  # more members than any run has
MAX_WHOLE = 1 << 53  # JSON numbers are exact below


class Malformed(NamedTuple):
    """A field of a fact with a wrong type."""

    field: str
    got: object
    expected: str


class FieldType(NamedTuple):
    """What a field must be: a test, and the words for it."""

    fits: Callable[[object], bool]
    expected: str


def _whole(value: object, below: int = MAX_WHOLE) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _duration(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value) and value >= 0


def _pair(value: object) -> bool:
    return isinstance(value, Sequence) and len(value) == 2 and all(map(_number, value))


def _numbers(values: object) -> bool:
    """True for a sequence of values that become floats."""
    try:
        return isinstance(values, Sequence) and all(isinstance(float(value), float) for value in values)
    except (TypeError, ValueError, OverflowError):
        return False


def _curve(points: object) -> bool:
    return isinstance(points, Sequence) and all(
        isinstance(point, Sequence) and len(point) == 2 and _numbers(point) for point in points
    )


def _or_none(kind: FieldType) -> FieldType:
    return FieldType(lambda value: value is None or kind.fits(value), f"{kind.expected}, or None")


def _one_of(*options: str) -> FieldType:
    return FieldType(lambda value: isinstance(value, str) and value in options, f"one of {', '.join(map(repr, options))}")


WHOLE = FieldType(_whole, "a whole number from 0")
SEAT = FieldType(lambda value: _whole(value, MAX_SEATS), "a whole number from 0")
NUMBER = FieldType(_number, "a number")
DURATION = FieldType(_duration, "a finite number of seconds from 0")
TEXT = FieldType(lambda value: isinstance(value, str), "a text")
MAPPING = FieldType(lambda value: isinstance(value, Mapping), "a mapping")

TASK = {
    "id": WHOLE,
    "member": SEAT,
    "steps": WHOLE,
    "seed": WHOLE,
    "evals": WHOLE,
    "parent": _or_none(WHOLE),
    "teacher": _or_none(WHOLE),
    "donor": _or_none(SEAT),
    "hparams": MAPPING,
    "tags": MAPPING,
    "note": MAPPING,
    "seconds": _or_none(DURATION),
    "progress": _or_none(FieldType(_pair, "a pair of numbers")),
    "role": _one_of(*ROLES),
    "forecast": _or_none(FieldType(lambda value: isinstance(value, Forecast), "a forecast")),
}
RESULT = {
    "task": WHOLE,
    "step": WHOLE,
    "metrics": MAPPING,
    "score": FieldType(lambda value: _number(value) and _numbers((value,)), "a number"),
    "curve": FieldType(_curve, "pairs of a step and a score"),
    "returns": FieldType(_numbers, "numbers"),
    "checkpoint": _or_none(FieldType(lambda value: isinstance(value, str), "a reference")),
    "error": _or_none(TEXT),
    "kind": _one_of(*get_args(Kind)),
    "seconds": NUMBER,
    "saving": NUMBER,
}
LOST = {"task": WHOLE}
FORECAST = {
    "source": _one_of("model", "redraw", "bandit"),
    "gain": _or_none(NUMBER),
    "gain_sd": _or_none(NUMBER),
    "beta": _or_none(NUMBER),
    "rows": _or_none(WHOLE),
    "fallback": _or_none(TEXT),
}


def malformed(fact: Task | Result | Lost) -> Malformed | None:
    """Returns the first field of a fact that has a wrong type; None if the fact is well-formed."""
    if isinstance(fact, Lost):
        return _first_wrong(fact, LOST)
    if isinstance(fact, Result):
        return _first_wrong(fact, RESULT)
    wrong = _first_wrong(fact, TASK)
    if wrong is None and fact.forecast is not None:
        inner = _first_wrong(fact.forecast, FORECAST)
        wrong = inner and inner._replace(field=f"forecast.{inner.field}")
    return wrong


def _first_wrong(what: object, types: Mapping[str, FieldType]) -> Malformed | None:
    for name, kind in types.items():
        if not kind.fits(value := getattr(what, name)):
            return Malformed(name, value, kind.expected)
    return None
