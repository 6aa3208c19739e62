"""What the results of two trainings can show: an accuracy of 400 examples cannot show a small change of the weights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from poptrain.core import Result, Value

LEVELS = 10_000  # a number with fewer possible values, such as the accuracy of 400 examples, hides small changes
PRECISION = 2e-7  # relative, of numbers that were computed in single precision
MANY = 8  # returns of one result that together show small changes, though each of them is a whole number


def numbers(result: Result, without: Collection[str] = ()) -> dict[str, float]:
    """Returns the score and the metrics of a result, except for some metrics."""
    return {"": result.score} | {name: value for name, value in result.metrics.items() if name not in without}


def seen(result: Result, without: Collection[str], own: Iterable[Value]) -> str:
    """Returns all that a result reports, for comparison; NaN equals itself. A report of a changed value does not count.

    Args:
        without: metrics that differ every time.
        own: the values of the hyperparameter that was changed.
    """
    found = sorted(pair for pair in result.metrics.items() if pair[0] not in without and not _is_one_of(pair[1], own))
    return repr((result.score, result.step, tuple(result.curve), tuple(result.returns), result.error is None, found))


def blurred(pairs: Iterable[tuple[Result, Result]], without: Collection[str] = ()) -> bool:
    """True if the results of trainings are too coarse to show small changes of what was trained.

    Args:
        pairs: a result, and the result of the same member some steps later.
        without: metrics that differ every time.
    """
    values: dict[str, set[float]] = {}
    moved: set[str] = set()
    for before, after in pairs:
        if len(after.returns) >= MANY and tuple(before.returns) != tuple(after.returns):
            return False
        then, now = numbers(before, without), numbers(after, without)
        for name in then.keys() & now.keys():
            values.setdefault(name, set()).update((then[name], now[name]))
            if then[name] != now[name]:
                moved.add(name)
    return all(_has_few_levels(values[name]) for name in moved)


def in_force(places: Iterable[object], hparams: Mapping[str, Value]) -> set[str]:
    """Returns the hyperparameters whose values a live object holds, by its places (`integrations.adapter.Place`)."""
    found: dict[str, bool] = {}
    for place in places:
        name, held = getattr(place, "hparam", ""), getattr(place, "held", None)
        if name in hparams:
            found[name] = found.get(name, True) and _is_one_of(held, [hparams[name]])
    return {name for name, same in found.items() if same}


def _is_one_of(value: object, own: Iterable[Value]) -> bool:
    """True if a value is one of a hyperparameter's, perhaps in single precision."""
    for each in own:
        if value == each:
            return True
        if isinstance(value, (int, float)) and isinstance(each, (int, float)) and abs(value - each) <= PRECISION * abs(each):
            return True
    return False


def _has_few_levels(values: Iterable[float]) -> bool:
    """True if all values are whole multiples of one fraction 1/n, and few of them lie between 0 and the largest value."""
    found = np.unique(np.array([value for value in values if np.isfinite(value)], float))
    largest = float(np.abs(found).max(initial=0.0))
    if not len(found) or largest == 0.0:
        return True
    parts = np.arange(1, int(LEVELS / max(largest, 1.0)) + 1)
    multiples = np.outer(parts, found)
    exact = np.abs(multiples - np.round(multiples)) <= PRECISION * np.abs(multiples) + 1e-12
    return bool(exact.all(axis=1).any())
