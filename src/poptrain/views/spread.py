"""Spread: how far apart the members are, generation by generation: scores, hyperparameters, and how many lines of descent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from poptrain.core import Value
from poptrain.record import Record
from poptrain.views.facts import Facts, space_of

_UNIFORM = 1 / sqrt(12)  # standard deviation of a uniform draw from 0 to 1
_LOG = ("LogUniform", "LogInt")


@dataclass(frozen=True)
class Generation:
    """The members after the same number of intervals each; scores have the user's sign."""

    generation: int  # counted from 1
    step: int  # the median of their lineage steps
    members: int  # of whom a healthy result is known
    scores: tuple[float, float, float, float, float]  # lowest, lower quartile, median, upper quartile, highest
    founders: int  # how many first members they all descend from: 1 means one family
    hparams: Mapping[str, float | None]  # 0: all equal; about 1: as far apart as uniform draws; None: fewer than two values


@dataclass(frozen=True)
class Spread:
    """The whole run; a generation in which nobody was healthy is left out."""

    metric: str
    mode: str
    names: tuple[str, ...]
    generations: tuple[Generation, ...]


def spread(record: Record) -> Spread:
    """Returns how far apart the members of a run were over time."""
    facts, space = Facts.of(record), space_of(record)
    groups = _generations(facts)
    names = tuple(space) or tuple(dict.fromkeys(name for ids in groups for id in ids for name in facts.tasks[id].hparams))
    founder = _founders(facts)
    scale = {name: _scale(space.get(name) or {}, [task.hparams.get(name) for task in facts.tasks]) for name in names}
    found = []
    for number, ids in enumerate(groups, 1):
        ids = [id for id in ids if facts.ok(id)]
        if not ids:
            continue
        scores = np.quantile([facts.results[id].score for id in ids], (0, 0.25, 0.5, 0.75, 1)).tolist()
        found.append(Generation(
            generation=number,
            step=int(np.median([facts.end(id) for id in ids])),
            members=len(ids),
            scores=tuple(scores),
            founders=len({founder[id] for id in ids}),
            hparams={name: scale[name]([facts.tasks[id].hparams.get(name) for id in ids]) for name in names},
        ))  # fmt: skip
    return Spread(str(record.run.get("metric", "score")), str(record.run.get("mode", "max")), names, tuple(found))


def _generations(facts: Facts) -> list[list[int]]:
    """Returns the told tasks by how many intervals their members had finished with them; evaluations alone do not count."""
    done: Counter[int] = Counter()
    groups: list[list[int]] = []
    for task, result in zip(facts.tasks, facts.results, strict=True):
        if result is None or task.evaluator or not task.steps:
            continue
        done[task.member] += 1
        if done[task.member] > len(groups):
            groups.append([])
        groups[done[task.member] - 1].append(task.id)
    return groups


def _founders(facts: Facts) -> list[int]:
    """Returns, for each task, the first task that it descends from."""
    first: list[int] = []
    for id in range(len(facts.tasks)):
        source = facts.source(id)
        first.append(id if source is None else first[source])
    return first


def _scale(kind: Mapping[str, Any], values: Sequence[Value]) -> Any:
    """Returns the function that measures the spread of one hyperparameter, on the scale that it is tuned on."""
    options, low, high = kind.get("options"), kind.get("low"), kind.get("high")
    numeric = all(_is_number(value) for value in values if value is not None)
    if kind.get("type") == "Ordinal" and options:
        place = {_key(option): index / max(len(options) - 1, 1) for index, option in enumerate(options)}
        return lambda found: _numbers([place.get(_key(value)) for value in found])
    if options or not numeric:
        count = len(options or {_key(value) for value in values if value is not None})
        return lambda found: _options(found, count)
    if not (_is_number(low) and _is_number(high) and low < high):
        known = [value for value in values if value is not None] or [0.0]
        low, high = min(known), max(known)
    if kind.get("type") in _LOG and low > 0:
        bend = np.log
    elif kind.get("type") == "Complement" and high < 1:
        bend = _nines
    else:
        bend = np.asarray
    begin, end = float(bend(low)), float(bend(high))
    width = (end - begin) or 1.0
    return lambda found: _numbers([None if value is None else float((bend(value) - begin) / width) for value in found])


def _numbers(places: Sequence[float | None]) -> float | None:
    known = [place for place in places if place is not None and np.isfinite(place)]
    return float(np.std(known, ddof=1) / _UNIFORM) if len(known) > 1 else None


def _options(values: Sequence[Value], count: int) -> float | None:
    """Returns the chance that two members differ, over that of two uniform draws."""
    n = len(values)
    if n < 2:
        return None
    if count < 2:
        return 0.0
    same = sum(k * (k - 1) for k in Counter(map(_key, values)).values()) / (n * (n - 1))
    return (1 - same) / (1 - 1 / count)


def _nines(value: Any) -> Any:
    return -np.log10(np.maximum(1 - np.asarray(value, float), 1e-16))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _key(value: Value) -> tuple[str, Value]:
    return type(value).__name__, value  # True and 1 are two options
