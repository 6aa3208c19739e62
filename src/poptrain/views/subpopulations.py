"""Sub-populations of FIRE PBT: how the hyperparameters of each are spread over the steps, and who handed weights to whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from poptrain.core.errors import UsageError
from poptrain.log.reader import Record
from poptrain.views.facts import Facts
from poptrain.views.schedule import Schedule, schedule_of


@dataclass(frozen=True)
class Quantiles:
    """One number of all members of a sub-population from one step on: smallest, quartiles and median, largest."""

    step: int
    low: float
    lower: float
    middle: float
    upper: float
    high: float


@dataclass(frozen=True)
class Subpopulation:
    """P₁ is greedy and has `index` 1; every other is a parent of the one before."""

    index: int
    members: tuple[int, ...]
    hparams: Mapping[str, tuple[Quantiles, ...]] = field(repr=False)  # of the numbers, by name


@dataclass(frozen=True)
class HandOver:
    """An evaluator's success: weights of a `parent`, trained on by the evaluator, became those of the `child`."""

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


def sizes_of(record: Record) -> tuple[int, ...]:
    """Returns the sizes of the sub-populations; () for an algorithm without any."""
    algorithm = record.run.get("algorithm")
    sizes = algorithm.get("subpopulations") if isinstance(algorithm, Mapping) else None
    return tuple(sizes) if isinstance(sizes, Sequence) and all(isinstance(size, int) for size in sizes) else ()


def subpopulations(record: Record) -> Subpopulations:
    """Returns the sub-populations of a run.

    Raises:
        UsageError: its algorithm has none.
    """
    sizes = sizes_of(record)
    if not sizes:
        algorithm = record.run.get("algorithm") or {}
        raise UsageError(f"subpopulations: a run of {algorithm.get('type', 'no algorithm')} has none; fire_pbt makes them.")
    facts = Facts.of(record)
    best = facts.best
    path = set() if best is None else set(facts.ancestry(best))
    found, begin = [], 0
    for index, size in enumerate(sizes):
        members = tuple(range(begin, begin + size))
        found.append(Subpopulation(index + 1, members, _spread(facts, members)))
        begin += size
    return Subpopulations(
        subpopulations=tuple(found),
        hand_overs=tuple(_hand_overs(facts, path)),
        best=None if best is None else schedule_of(facts, record, best),
    )


def _spread(facts: Facts, members: tuple[int, ...]) -> dict[str, tuple[Quantiles, ...]]:
    seats = set(members)
    rows: dict[int, list[Mapping[str, Any]]] = {}  # by the step at which the tasks begin
    for task in facts.tasks:
        if task.member in seats and task.steps:
            rows.setdefault(facts.begin(task.id), []).append(task.hparams)
    names = {name for row in rows.values() for hparams in row for name, value in hparams.items() if _number(value)}
    order = [name for name in (facts.tasks[0].hparams if facts.tasks else ()) if name in names]
    return {name: tuple(_quantiles(step, [hparams[name] for hparams in rows[step]]) for step in sorted(rows)) for name in order}


def _quantiles(step: int, values: list[float]) -> Quantiles:
    return Quantiles(step, *np.quantile(np.asarray(values, float), (0, 0.25, 0.5, 0.75, 1)).tolist())


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _hand_overs(facts: Facts, path: set[int]) -> list[HandOver]:
    found = []
    for task in facts.tasks:
        source = None if task.parent is None else facts.tasks[task.parent]
        if source is not None and source.evaluator and not task.evaluator:
            tags = source.tags
            found.append(HandOver(facts.begin(task.id), tags["since"], source.member, tags["evaluates"], task.member,
                                  task.id, task.id in path))  # fmt: skip
    return sorted(found, key=lambda hand: (hand.step, hand.task))
