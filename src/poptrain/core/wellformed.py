"""What a fact may hold: the one rule for everything that is written into a log, and for everything that is read from one.

User code can return anything, and a log with valid checksums can hold anything that JSON can express. `malformed` is called where
a fact enters a run, before it is written, and where it is read, before it is used. So a line that the reader would refuse cannot
be written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import NamedTuple, get_args

from poptrain.core.facts import ROLES, Forecast, Kind, Lost, Result, Task

MAX_SEATS = 1 << 20  # more members than any run has
MAX_WHOLE = 1 << 53  # JSON numbers are exact below
_INF = float("inf")
_KINDS = frozenset(get_args(Kind))
_LONGEST = 10**300
_VALUES = frozenset((bool, float, str, type(None)))  # of hyperparameters, next to int


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


def _named(values: Mapping[object, object]) -> bool:
    """True for values of hyperparameters by name. A whole number has at most 300 digits: longer ones cannot be read again."""
    for name, value in values.items():
        if type(name) is not str or not (type(value) in _VALUES or isinstance(value, (float, str)) or _moderate(value)):
            return False
    return True


def _moderate(value: object) -> bool:
    return isinstance(value, int) and -_LONGEST < value < _LONGEST


def _pair(value: object) -> bool:
    return isinstance(value, Sequence) and len(value) == 2 and all(map(_number, value))


def _numbers(values: object) -> bool:
    """True for a sequence of numbers that fit into floats."""
    try:
        return isinstance(values, Sequence) and all(_number(value) and isinstance(float(value), float) for value in values)
    except OverflowError:
        return False


def _curve(points: object) -> bool:
    return isinstance(points, Sequence) and all(
        isinstance(point, Sequence) and len(point) == 2 and _whole(point[0]) and _numbers(point[1:]) for point in points
    )


def _or_none(kind: FieldType) -> FieldType:
    return FieldType(lambda value: value is None or kind.fits(value), f"{kind.expected}, or None")


def _one_of(*options: str) -> FieldType:
    return FieldType(lambda value: isinstance(value, str) and value in options, f"one of {', '.join(map(repr, options))}")


WHOLE = FieldType(_whole, "a whole number from 0")
SEAT = FieldType(lambda value: _whole(value, MAX_SEATS), "a whole number from 0")
NUMBER = FieldType(_number, "a number")
FLOAT = FieldType(lambda value: _numbers((value,)), "a number")
DURATION = FieldType(_duration, "a finite number of seconds from 0")
TEXT = FieldType(lambda value: isinstance(value, str), "a text")
MAPPING = FieldType(
    lambda value: isinstance(value, Mapping) and all(type(name) is str for name in value), "a mapping with texts as keys"
)
VALUES = FieldType(lambda value: isinstance(value, Mapping) and _named(value), "numbers, texts, booleans or None by name")
METRICS = FieldType(
    lambda value: isinstance(value, Mapping) and all(type(name) is str for name in value) and _numbers([*value.values()]),
    "numbers by name",
)

TASK = {
    "id": WHOLE,
    "member": SEAT,
    "steps": WHOLE,
    "seed": WHOLE,
    "evals": WHOLE,
    "parent": _or_none(WHOLE),
    "teacher": _or_none(WHOLE),
    "donor": _or_none(SEAT),
    "hparams": VALUES,
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
    "metrics": METRICS,
    "score": FLOAT,
    "curve": FieldType(_curve, "pairs of a step and a score"),
    "returns": FieldType(_numbers, "numbers"),
    "checkpoint": _or_none(FieldType(lambda value: isinstance(value, str), "a reference")),
    "error": _or_none(TEXT),
    "kind": _one_of(*get_args(Kind)),
    "seconds": FLOAT,
    "saving": FLOAT,
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
        return None if _plain_result(fact) else _first_wrong(fact, RESULT)
    if _plain_task(fact):
        return None
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


# -- the usual cases, which are most: one test each, ten times as fast as the table ---------------------------------------


def _plain_task(task: Task) -> bool:
    parent, hparams = task.parent, task.hparams
    if not (
        type(task.id) is type(task.member) is type(task.steps) is type(task.seed) is type(task.evals) is int
        and 0 <= task.id < MAX_WHOLE
        and 0 <= task.member < MAX_SEATS
        and 0 <= task.steps < MAX_WHOLE
        and 0 <= task.seed < MAX_WHOLE
        and 0 <= task.evals < MAX_WHOLE
        and (parent is None or (type(parent) is int and 0 <= parent < MAX_WHOLE))
        and task.teacher is None
        and task.progress is None
        and task.seconds is None
        and (task.donor is None or (type(task.donor) is int and 0 <= task.donor < MAX_SEATS))
        and task.forecast is None
        and task.role in ROLES
        and not task.tags
        and isinstance(task.note, dict)
        and isinstance(hparams, dict)
    ):
        return False
    for name, value in hparams.items():
        if type(name) is not str or not (type(value) in _VALUES or _moderate(value)):
            return False
    return not task.note or all(type(name) is str for name in task.note)


def _plain_result(result: Result) -> bool:
    if not (
        type(result.task) is type(result.step) is int
        and 0 <= result.task < MAX_WHOLE
        and 0 <= result.step < MAX_WHOLE
        and type(result.score) is type(result.seconds) is type(result.saving) is float
        and 0.0 <= result.seconds < _INF
        and 0.0 <= result.saving < _INF
        and (result.checkpoint is None or type(result.checkpoint) is str)
        and (result.error is None or type(result.error) is str)
        and type(result.kind) is str
        and result.kind in _KINDS
        and type(result.metrics) is dict
        and type(result.curve) is type(result.returns) is tuple
    ):
        return False
    for point in result.curve:
        if type(point) is not tuple or len(point) != 2 or type(point[0]) is not int or not 0 <= point[0] < MAX_WHOLE:
            return False
        if type(point[1]) is not float:
            return False
    for value in result.returns:
        if type(value) is not float:
            return False
    metrics = result.metrics
    return not metrics or all(type(name) is str and type(value) is float for name, value in metrics.items())
