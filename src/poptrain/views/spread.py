"""Spread: how far apart the members are, for each generation: in scores, in hyperparameters, and in their origin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np

from poptrain.core import History, Value
from poptrain.core.brief import in_lines
from poptrain.core.gathered import Floats, Ints
from poptrain.log.reader import Record
from poptrain.views.columns import sources
from poptrain.views.curves import LOG, MOST
from poptrain.views.index import about, history_of, reported, space_of
from poptrain.views.scale import scale_of
from poptrain.views.sources import of_run

Sized = tuple[list[int], Ints]  # the numbers of groups of equal size, and their tasks; shape (groups, size)
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

    __repr__ = in_lines


@of_run
def spread(record: Record) -> Spread:
    """Returns how far apart the members of a run were over time."""
    history, space = history_of(record), space_of(record)
    tasks = [history.task(id) for id in range(history.n)]
    names = tuple(space) or tuple(dict.fromkeys(name for task in tasks for name in task.hparams))
    founder = _founders(history)
    oks = history.oks.tolist()
    healthy = [(number, [id for id in group if oks[id]]) for number, group in enumerate(_generations(history), 1)]
    healthy = [(number, ids) for number, ids in healthy if ids]
    groups = _by_size([ids for _, ids in healthy])
    scores, steps = _summaries(history, groups, len(healthy))
    apart = {
        name: _spreads(space.get(name, {}), [task.hparams.get(name) for task in tasks], groups, len(healthy)) for name in names
    }
    found = []
    for index, (number, ids) in enumerate(healthy):
        low, lower, middle, upper, high = scores[index]
        generation = Generation(
            generation=number,
            step=steps[index],
            members=len(ids),
            scores=(low, lower, middle, upper, high),
            founders=len({founder[id] for id in ids}),
            hparams={name: apart[name][index] for name in names},
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
        if begin > 0 and end > LOG * begin:  # a loss that fell by an order of magnitude or more: nothing needs to be left out
            end = min(float(high.max()), LOG * end)
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


def _by_size(groups: Sequence[Sequence[int]]) -> list[Sized]:
    """Returns the groups of tasks by their size, so that equal ones are computed at once."""
    by_size: dict[int, list[int]] = {}
    for number, ids in enumerate(groups):
        by_size.setdefault(len(ids), []).append(number)
    return [(numbers, np.array([groups[number] for number in numbers])) for numbers in by_size.values()]


def _summaries(history: History, groups: Sequence[Sized], n: int) -> tuple[list[list[float]], list[int]]:
    """Returns, for each of `n` groups of tasks, the quartiles of their scores and the median of their steps."""
    scores, steps = [[0.0]] * n, [0] * n
    for numbers, ids in groups:
        own = np.clip(history.sign * history.scores[ids], -MOST, MOST)
        quartiles = np.quantile(own, (0, 0.25, 0.5, 0.75, 1), axis=1).T.tolist()
        medians = np.median(history.column("step")[ids], axis=1).astype(int).tolist()
        for number, each, median in zip(numbers, quartiles, medians, strict=True):
            scores[number], steps[number] = each, median
    return scores, steps


def _founders(history: History) -> list[int]:
    """Returns, for each task, the first task that it descends from."""
    first: list[int] = []
    for id, source in enumerate(sources(history).tolist()):
        first.append(id if source < 0 else first[source])
    return first


def _spreads(kind: Mapping[str, object], values: Sequence[Value], groups: Sequence[Sized], n: int) -> list[float | None]:
    """Returns, for each of `n` groups of tasks, the standard deviation divided by that of a uniform draw.

    For options, it is the chance that two differ, divided by the same. None for fewer than two values.

    Args:
        kind: the description of the hyperparameter.
        values: its values, one a task.
    """
    scale, found = scale_of(kind, values), list[float | None]([None] * n)
    options = scale.kind == "options"
    places = np.array(scale.places(values), float) if options else scale.units(values)
    for numbers, ids in groups:
        here = places[ids]
        known = (~np.isnan(here)).sum(axis=1)
        apart = _differing(here, known, len(scale.options)) if options else _deviation(here, known) / _UNIFORM
        for number, count, each in zip(numbers, known.tolist(), apart.tolist(), strict=True):
            found[number] = each if count > 1 and isfinite(each) else None
    return found


def _deviation(places: Floats, known: Ints) -> Floats:
    """Returns the standard deviation of each row, without what is NaN; `known` values of each are not."""
    with np.errstate(over="ignore", invalid="ignore"):  # values far outside the range, as only another program writes them
        mean = np.nansum(places, axis=1) / np.maximum(known, 1)
        deviation: Floats = np.sqrt(np.nansum((places - mean[:, None]) ** 2, axis=1) / np.maximum(known - 1, 1))
    return deviation


def _differing(places: Floats, known: Ints, options: int) -> Floats:
    """Returns, of each row of options, the chance that two differ, divided by that of uniform draws."""
    if options < 2:
        return np.zeros(len(places))
    ordered = np.sort(places, axis=1)  # NaN comes last
    equal = np.zeros(len(places))
    for distance in range(1, places.shape[1]):  # pairs, counted once each
        equal += (ordered[:, distance:] == ordered[:, :-distance]).sum(axis=1)
    pairs = np.maximum(known * (known - 1), 2)
    differing: Floats = (1 - 2 * equal / pairs) / (1 - 1 / options)
    return differing
