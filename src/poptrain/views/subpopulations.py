"""Sub-populations of FIRE PBT: how the hyperparameters of each are spread over the steps, and how weights were handed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from poptrain.core import History, Hparams, Value
from poptrain.core.brief import in_lines
from poptrain.core.errors import UsageError
from poptrain.core.facts import is_number
from poptrain.log.reader import Record
from poptrain.views.index import algorithm_name, best_id, history_of
from poptrain.views.schedule import Schedule, schedule_of
from poptrain.views.sources import of_run


@dataclass(frozen=True)
class Quantiles:
    """One hyperparameter over all members of a sub-population: smallest, quartiles and median, largest."""

    step: int  # from which on
    low: float
    lower: float
    middle: float
    upper: float
    high: float


@dataclass(frozen=True)
class Subpopulation:
    """P₁ is greedy and has `index` 1. Each other sub-population is the parent of the one before it."""

    index: int
    members: tuple[int, ...]
    hparams: Mapping[str, tuple[Quantiles, ...]] = field(repr=False)  # of the numbers, by name

    __repr__ = in_lines


@dataclass(frozen=True)
class HandOver:
    """An evaluator succeeded: the `child` took over weights that the evaluator had copied from the `parent` and trained on."""

    step: int
    since: int  # the step at which the evaluator took the parent's weights
    evaluator: int
    parent: int
    child: int
    task: int  # the child's first
    best: bool  # an ancestor of the best result


@dataclass(frozen=True)
class Subpopulations:
    """A run of FIRE PBT."""

    subpopulations: tuple[Subpopulation, ...]
    hand_overs: tuple[HandOver, ...]  # by step
    best: Schedule | None
    released: int | None = None  # the step from which on all seats were one population; None: never

    __repr__ = in_lines


def sizes_of(record: Record) -> tuple[int, ...]:
    """Returns the sizes of the sub-populations; () for an algorithm without sub-populations."""
    algorithm = record.run.get("algorithm")
    sizes = algorithm.get("subpopulations") if isinstance(algorithm, Mapping) else None
    return tuple(sizes) if isinstance(sizes, Sequence) and all(isinstance(size, int) for size in sizes) else ()


@of_run
def subpopulations(record: Record) -> Subpopulations:
    """Returns the sub-populations of a run.

    Raises:
        UsageError: the algorithm of the run has no sub-populations.
    """
    sizes = sizes_of(record)
    if not sizes:
        name = algorithm_name(record) or "an unknown algorithm"
        raise UsageError(f"subpopulations: a run of {name} has no sub-populations; only fire_pbt has them.")
    history = history_of(record)
    best = best_id(record, history)
    path = set() if best is None else set(history.descent(best))
    ends = list(accumulate(sizes))
    groups = [tuple(range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    released = _released(history, ends[-1])
    return Subpopulations(
        subpopulations=tuple(Subpopulation(k, members, _spread(history, members)) for k, members in enumerate(groups, 1)),
        hand_overs=tuple(_hand_overs(history, path, history.n if released is None else released)),
        best=None if best is None else schedule_of(history, record, best),
        released=None if released is None else history.begin(released),
    )


def _spread(history: History, members: tuple[int, ...]) -> dict[str, tuple[Quantiles, ...]]:
    rows: dict[int, list[Hparams]] = {}  # by the step at which the tasks begin
    for id in range(history.n):
        task = history.task(id)
        if task.member in members and task.steps:
            rows.setdefault(history.begin(id), []).append(task.hparams)
    names = {name for row in rows.values() for hparams in row for name, value in hparams.items() if is_number(value)}
    order = [name for name in (history.task(0).hparams if history.n else ()) if name in names]
    return {name: tuple(_quantiles(step, [hparams[name] for hparams in rows[step]]) for step in sorted(rows)) for name in order}


def _quantiles(step: int, values: Sequence[Value]) -> Quantiles:
    return Quantiles(step, *np.quantile(np.asarray(values, float), (0, 0.25, 0.5, 0.75, 1)).tolist())


def _released(history: History, population: int) -> int | None:
    """Returns the first task of the round in which the evaluators became members; None: they did not."""
    issued = history.column("issued")
    ids = [id for id in range(history.n) if history.task(id).member >= population and not history.task(id).evaluator]
    return int((issued == issued[ids[0]]).argmax()) if ids else None


def _hand_overs(history: History, path: set[int], end: int) -> list[HandOver]:
    """Returns the hand-overs before task `end`; after it, evaluators are copied as all members are."""
    found = []
    for id in range(end):
        task = history.task(id)
        source = None if task.parent is None else history.task(task.parent)
        if source is not None and source.evaluator and not task.evaluator:
            since, parent = int(source.tags["since"]), int(source.tags["evaluates"])  # written by `algorithms.fire.round`
            found.append(HandOver(history.begin(id), since, source.member, parent, task.member, id, id in path))
    return sorted(found, key=lambda hand: (hand.step, hand.task))
