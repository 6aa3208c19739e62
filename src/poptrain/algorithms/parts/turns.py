"""Whose turn it is, and the next segment of a member that goes on: what every algorithm of this package shares.

Synchronous and asynchronous are one code path. Synchronous means: nobody's turn while any member that can still deliver is
pending. A failed or finished member is never waited for, because it has no pending task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from poptrain.core import Forecast, History, Hparams, Task, Value
from poptrain.core.errors import UsageError
from poptrain.core.rng import rng, task_seeds
from poptrain.space import Space

UNBOUNDED = 2**31 - 1  # steps of a task that is stopped by time and by nothing else


@dataclass(frozen=True)
class Seconds:
    """A length of time: as an interval, a task ends after so many seconds (and is then not bit-exact to repeat)."""

    seconds: float

    def __post_init__(self) -> None:
        if not (isinstance(self.seconds, (int, float)) and 0 < self.seconds < float("inf")):
            raise UsageError(f"seconds({self.seconds!r}): expected a finite number above 0.")


def first_round(
    history: History, space: Space, seats: int, interval: int | Seconds | None, initial: Sequence[Mapping[str, Value]] = ()
) -> tuple[Task, ...]:
    """Returns the first task of every seat: the `initial` configurations, then draws from the space."""
    plans = []
    for seat in range(seats):
        generator = rng(history.seed, "initial", seat)
        hparams = space.complete(initial[seat], generator) if seat < len(initial) else space.sample(generator)
        plans.append(Plan(seat, None, hparams))
    return segments(history, plans, interval)


class Plan(NamedTuple):
    """What one seat does next; `segments` gives it an id, a length and a seed."""

    seat: int
    parent: int | None
    hparams: Hparams
    note: Mapping[str, Value] = {}
    donor: int | None = None  # the seat that it copies from
    forecast: Forecast | None = None


def segments(history: History, plans: Sequence[Plan], interval: int | Seconds | None) -> tuple[Task, ...]:
    """Returns the next tasks of the history: each plan's seat trains from its parent for one interval, cut at the budget.

    The budget bounds the lineage, and also what one seat trains: an asynchronous member that clones one behind it goes back
    in steps, and two that cloned each other for ever would otherwise never end.
    """
    longest = interval if isinstance(interval, int) else UNBOUNDED
    lengths = [longest] * len(plans)
    if history.budget is not None:
        heads = history.heads().tolist()
        begun = _at(history, "step", [-1 if plan.parent is None else plan.parent for plan in plans])
        spent = _at(history, "spent", [heads[plan.seat] if plan.seat < len(heads) else -1 for plan in plans])
        lengths = np.clip(history.budget - np.maximum(begun, spent), 0, longest).tolist()
    seconds = interval.seconds if isinstance(interval, Seconds) else None
    seeds = task_seeds(history.seed, history.n, len(plans))
    return tuple(
        Task(id, plan.seat, plan.hparams, plan.parent, steps, seed, 1, None, None, {}, plan.note, seconds, "", *plan[4:])
        for id, (plan, steps, seed) in enumerate(zip(plans, lengths, seeds, strict=True), history.n)
    )


def _at(history: History, name: str, ids: list[int]) -> np.ndarray:
    """Returns a column at these tasks, 0 where there is none (-1)."""
    if not history.n:
        return np.zeros(len(ids), int)
    return np.where(np.array(ids, int) >= 0, history.column(name)[ids], 0)


def turns(history: History, sync: bool) -> list[int]:
    """Returns the seats that may get a task now, in order: idle ones that failed or have steps left."""
    heads = history.heads()
    open = history.column("told")[heads] >= history.lines
    if sync and open.any():
        return []
    return np.flatnonzero(~open & ~finished(history, heads)).tolist()


def finished(history: History, ids: np.ndarray) -> np.ndarray:
    """True for tasks whose lineage or whose seat is at the budget; a failed member has still to be replaced."""
    if history.budget is None:
        return np.zeros(len(ids), bool)
    at_budget = history.oks_of(ids) & (history.column("step")[ids] >= history.budget)
    return at_budget | (history.column("spent")[ids] >= history.budget)


def needed(history: History) -> frozenset[int]:
    """Returns the tasks whose checkpoints the seats hold: every parent that may be asked next is among them."""
    standing = history.standing()
    standing = standing[standing >= 0]
    return frozenset(standing[history.oks_of(standing)].tolist())


def check_interval(what: str, interval: int | Seconds | None) -> None:
    """Raises a `UsageError` unless the interval is a whole number of steps from 1, or `Seconds`."""
    if isinstance(interval, Seconds):
        return
    if isinstance(interval, bool) or not isinstance(interval, int) or interval < 1:
        raise UsageError(f"{what}: interval={interval!r}, expected a whole number of steps from 1, or pt.seconds(s).")


def check_population(what: str, population: int, initial: Sequence[Mapping[str, Value]] = ()) -> None:
    """Raises a `UsageError` unless the population is a whole number from 1 that has a seat for every initial member."""
    if isinstance(population, bool) or not isinstance(population, int) or population < 1:
        raise UsageError(f"{what}: population={population!r}, expected a whole number from 1.")
    if len(initial) > population:
        raise UsageError(
            f"{what}: initial holds {len(initial)} configurations for a population of {population}; "
            f"raise population to {len(initial)} or drop {len(initial) - population} of them."
        )


def check_count(what: str, name: str, value: Any, least: int) -> None:
    """Raises a `UsageError` unless the argument `name` is a whole number from `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{what}: {name}={value!r}, expected a whole number from {least}.")


def check_space(what: str, space: Any) -> None:
    """Raises a `UsageError` unless `space` is a `Space`."""
    if not isinstance(space, Space):
        raise UsageError(f"{what}: got {type(space).__name__} as the space, expected pt.Space(lr=pt.LogUniform(1e-4, 1e-1), …).")


def freeze(initial: Sequence[Mapping[str, Value]], space: Space) -> tuple[Any, ...]:
    """Returns the initial configurations as hashable mappings, each checked against the space.

    Raises:
        UsageError: a configuration has an unknown name or a value outside the bounds.
    """
    if isinstance(initial, (Mapping, str)):
        raise UsageError(f"initial={initial!r}: expected a list of configurations, for example initial=[{{'lr': 1e-3}}].")
    frozen = []
    for index, partial in enumerate(initial):
        if not isinstance(partial, Mapping):
            raise UsageError(f"initial[{index}]={partial!r}: expected a mapping from parameter names to values.")
        space.complete(partial, rng(0, "check"))
        frozen.append(FrozenDict(partial))
    return tuple(frozen)


class FrozenDict(dict):
    """A dict that never changes, so that the frozen algorithm that holds it can be hashed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(sorted((name, repr(value)) for name, value in self.items())))
