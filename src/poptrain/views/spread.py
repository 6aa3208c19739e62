"""Spread: how far apart the members are, generation by generation: scores, hyperparameters, and how many lines of descent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from poptrain.core import Value
from poptrain.log.reader import Record
from poptrain.views.facts import Facts, space_of
from poptrain.views.scale import Scale, scale_of

_UNIFORM = 1 / sqrt(12)  # standard deviation of a uniform draw from 0 to 1


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
    scales = {name: scale_of(space.get(name) or {}, (task.hparams.get(name) for task in facts.tasks)) for name in names}
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
            hparams={name: _spread(scales[name], [facts.tasks[id].hparams.get(name) for id in ids]) for name in names},
        ))  # fmt: skip
    return Spread(str(record.run.get("metric", "score")), str(record.run.get("mode", "max")), names, tuple(found))


def extent(view: Spread) -> tuple[float, float, bool]:
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


def _spread(scale: Scale, values: Sequence[Value]) -> float | None:
    """Returns the standard deviation over that of a uniform draw; of options, the chance that two members differ likewise."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    if scale.kind != "options":
        places = [place for place in map(scale.unit, known) if place is not None]
        return float(np.std(places, ddof=1) / _UNIFORM) if len(places) > 1 else None
    if len(scale.options) < 2:
        return 0.0
    counts = Counter(map(scale.place, known)).values()
    same = sum(k * (k - 1) for k in counts) / (len(known) * (len(known) - 1))
    return (1 - same) / (1 - 1 / len(scale.options))
