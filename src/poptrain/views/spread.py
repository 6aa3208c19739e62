"""Spread: how far apart the members are, for each generation: in scores, in hyperparameters, and in their origin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from poptrain.core import History, Value
from poptrain.core.brief import brief
from poptrain.log.reader import Record
from poptrain.views.index import about, history_of, reported, space_of
from poptrain.views.scale import Scale, key_of, scale_of

_UNIFORM = 1 / sqrt(12)  # standard deviation of a uniform draw from 0 to 1


@dataclass(frozen=True)
class Generation:
    """The members after the same number of intervals each; scores have the user's sign."""

    generation: int  # counted from 1
    step: int  # the median of their lineage steps
    members: int  # that have a healthy result
    scores: tuple[float, float, float, float, float]  # lowest, lower quartile, median, upper quartile, highest
    founders: int  # number of first members that they descend from: 1 means one family
    hparams: Mapping[str, float | None]  # 0: all equal; about 1: as far apart as uniform draws; None: fewer than two values


@dataclass(frozen=True)
class Spread:
    """The whole run. A generation without a healthy result is left out."""

    metric: str
    mode: str
    names: tuple[str, ...]
    generations: tuple[Generation, ...]

    __repr__ = brief


def spread(record: Record) -> Spread:
    """Returns how far apart the members of a run were over time."""
    history, space = history_of(record), space_of(record)
    tasks = [history.task(id) for id in range(history.n)]
    names = tuple(space) or tuple(dict.fromkeys(name for task in tasks for name in task.hparams))
    scales = {name: scale_of(space.get(name, {}), (task.hparams.get(name) for task in tasks)) for name in names}
    founder = _founders(history)
    places: dict[str, dict[tuple[type, Value], float | None]] = {name: {} for name in names}  # most values occur many times
    healthy = [(number, [id for id in group if history.ok(id)]) for number, group in enumerate(_generations(history), 1)]
    healthy = [(number, ids) for number, ids in healthy if ids]
    scores, steps = _summaries(history, [ids for _, ids in healthy])
    found = []
    for (number, ids), (low, lower, middle, upper, high), step in zip(healthy, scores, steps, strict=True):
        generation = Generation(
            generation=number,
            step=step,
            members=len(ids),
            scores=(low, lower, middle, upper, high),
            founders=len({founder[id] for id in ids}),
            hparams={name: _spread(scales[name], [tasks[id].hparams.get(name) for id in ids], places[name]) for name in names},
        )
        found.append(generation)
    return Spread(*about(record), names, tuple(found))


def spread_extent(view: Spread) -> tuple[float, float, bool]:
    """Returns the lowest and highest score to draw, and whether on a log axis.

    One collapsed member must not flatten the rest: the worst tenth of the generations may leave the picture.
    """
    if not view.generations:
        return 0.0, 1.0, False
    low, _, _, _, high = np.array([generation.scores for generation in view.generations]).T
    if view.mode == "min":
        begin, end = float(low.min()), float(max(np.quantile(high, 0.9), low.max()))
        if begin > 0 and end > 100 * begin:  # a loss that fell by orders of magnitude
            return begin * (begin / end) ** 0.05, end * (end / begin) ** 0.05, True
    else:
        begin, end = float(min(np.quantile(low, 0.1), high.min())), float(high.max())
    pad = 0.05 * (end - begin) or 0.05 * max(abs(end), 1.0)
    return begin - pad, end + pad, False


def _generations(history: History) -> list[list[int]]:
    """Returns the reported tasks, grouped by how many intervals their seat had finished.

    Evaluations alone do not count, nor do candidates for a generation of architectures, which learn from a teacher.
    """
    done: Counter[int] = Counter()
    groups: list[list[int]] = []
    for id in reported(history):
        task = history.task(id)
        if task.role in ("evaluator", "candidate") or not task.steps:
            continue
        done[task.member] += 1
        if done[task.member] > len(groups):
            groups.append([])
        groups[done[task.member] - 1].append(id)
    return groups


def _summaries(history: History, groups: Sequence[Sequence[int]]) -> tuple[list[list[float]], list[int]]:
    """Returns, for each group of tasks, the quartiles of their scores and the median of their steps; equal sizes at once."""
    scores, steps = [[0.0]] * len(groups), [0] * len(groups)
    by_size: dict[int, list[int]] = {}
    for number, ids in enumerate(groups):
        by_size.setdefault(len(ids), []).append(number)
    for numbers in by_size.values():
        ids = np.array([groups[number] for number in numbers])
        quartiles = np.quantile(history.sign * history.scores[ids], (0, 0.25, 0.5, 0.75, 1), axis=1).T.tolist()
        medians = np.median(history.column("step")[ids], axis=1).astype(int).tolist()
        for number, each, median in zip(numbers, quartiles, medians, strict=True):
            scores[number], steps[number] = each, median
    return scores, steps


def _founders(history: History) -> list[int]:
    """Returns, for each task, the first task that it descends from."""
    first: list[int] = []
    for id in range(history.n):
        source = history.source(id)
        first.append(id if source is None else first[source])
    return first


def _spread(scale: Scale, values: Sequence[Value], known_places: dict[tuple[type, Value], float | None]) -> float | None:
    """Returns the standard deviation divided by that of a uniform draw; for options, the same with the chance that two differ.

    Args:
        known_places: where values lie on the scale; others are added to it.
    """
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    if scale.kind != "options":
        for value in known:
            if (key := key_of(value)) not in known_places:
                known_places[key] = scale.unit(value)
        places = [place for value in known if (place := known_places[key_of(value)]) is not None]
        if len(places) < 2:
            return None
        mean = sum(places) / len(places)
        try:
            return sqrt(sum((place - mean) ** 2 for place in places) / (len(places) - 1)) / _UNIFORM
        except OverflowError:  # values far outside the range, as only another program writes them
            return None
    if len(scale.options) < 2:
        return 0.0
    counts = Counter(map(scale.place, known)).values()
    same = sum(k * (k - 1) for k in counts) / (len(known) * (len(known) - 1))
    return (1 - same) / (1 - 1 / len(scale.options))
