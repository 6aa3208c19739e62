"""Which members may get a task now, and how a decision about a member becomes a task.

Synchronous and asynchronous runs share this code. In a synchronous run, `turns` returns nothing while a task is pending. A
failed or finished member never delays the others, because it has no pending task.

A minimal ``ask`` is::

    def ask(self, history):
        if history.n == 0:
            return turns.first_round(history, self.space, self.population, self.interval)
        plans = []
        for seat in turns.turns(history, sync=True):
            own = history.head(seat)
            if history.ok(own):                     # a failed member gets no task here, so it stays failed
                plans.append(turns.Plan(seat, own, history.task(own).hparams))
        return turns.segments(history, plans, self.interval)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeVar, get_args

import numpy as np

from poptrain.core import Forecast, History, Hparams, Line, Task, Value, tasks_of
from poptrain.core.arguments import as_whole
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.filled import unfrozen
from poptrain.core.interval import Interval, Seconds
from poptrain.core.rng import rng, task_seed, task_seeds
from poptrain.core.wellformed import MAX_SEATS, MAX_WHOLE
from poptrain.space import Space

__all__ = [
    "UNBOUNDED",
    "FrozenDict",
    "Interval",
    "Plan",
    "Seconds",
    "check_count",
    "check_interval",
    "check_population",
    "check_space",
    "check_starts",
    "finished",
    "first_round",
    "freeze",
    "member_seeds",
    "needed",
    "segments",
    "turns",
]

V = TypeVar("V")
Starts = Literal["spread", "random"]

UNBOUNDED = 2**31 - 1  # steps of a task that only its time limit ends


def first_round(
    history: History,
    space: Space,
    seats: int,
    interval: Interval | None,
    initial: Sequence[Hparams] = (),
    starts: Starts = "random",
) -> tuple[Task, ...]:
    """Returns the first task of every seat: first the `initial` configurations, then draws from the space.

    Args:
        history: an empty history; it holds the seed and the budget.
        space: the hyperparameters and their ranges.
        seats: number of tasks; the seats are 0, 1, … seats - 1.
        interval: length of each task in steps, or `Seconds`; 0 evaluates without training; None trains to the budget.
        initial: configurations of the first seats. Names that are left out are drawn.
        starts: "random": independent draws; "spread": they cover the ranges together, as `Space.spread` does.
    """
    given = [*initial, *({} for _ in range(seats - len(initial)))]
    if starts == "spread":
        drawn = space.spread(given, rng(history.seed, "initial"))
    else:
        drawn = [space.complete(partial, rng(history.seed, "initial", seat)) for seat, partial in enumerate(given)]
    return segments(history, [Plan(seat, None, hparams) for seat, hparams in enumerate(drawn)], interval)


class Plan(NamedTuple):
    """A decision about one seat; `segments` adds the id, the length and the seed of the task."""

    seat: int
    parent: int | None  # task whose checkpoint it continues; None: a fresh start
    hparams: Hparams  # complete, inside the space; static hyperparameters as in the parent
    note: Mapping[str, Value] = {}  # reasons, for people
    donor: int | None = None  # the seat that it copies
    forecast: Forecast | None = None  # what a model expects


def segments(
    history: History,
    plans: Sequence[Plan],
    interval: Interval | None,
    shared_budget: bool = False,
    seeds: Sequence[int] | None = None,
) -> tuple[Task, ...]:
    """Returns the next tasks of the history: each plan's seat trains from its parent for one interval, cut at the budget.

    The budget limits the steps along a lineage. Without `shared_budget` it also limits the steps that one seat trains. An
    asynchronous member that copies a member with fewer steps goes back in steps, so two members that copy each other again and
    again would never reach the budget otherwise; but a member that went back then ends before the budget.

    Args:
        history: the tasks and results so far; ids go on from ``history.n``.
        plans: one decision for each seat, of seats without a pending task.
        interval: length of each task in steps, or `Seconds`; 0 evaluates without training; None trains to the budget.
        shared_budget: the algorithm itself bounds the steps of all members together, with an `Allowance`.
        seeds: of the tasks, for example `member_seeds`; None: they follow from the ids.
    """
    longest = interval if isinstance(interval, int) else UNBOUNDED
    lengths = [longest] * len(plans)
    if history.budget is not None:
        heads = history.heads().tolist()
        begun = _at(history, "step", [-1 if plan.parent is None else plan.parent for plan in plans])
        spent = _at(history, "spent", [heads[plan.seat] if plan.seat < len(heads) else -1 for plan in plans])
        lengths = np.clip(history.budget - (begun if shared_budget else np.maximum(begun, spent)), 0, longest).tolist()
    seconds = interval.seconds if isinstance(interval, Seconds) else None
    seeds = task_seeds(history.seed, history.n, len(plans)) if seeds is None else seeds
    return tuple(
        [
            _task(id, plan, steps, seed, seconds)
            for id, (plan, steps, seed) in enumerate(zip(plans, lengths, seeds, strict=True), history.n)
        ]
    )


_Unfrozen = unfrozen(Task)


def _task(id: int, plan: Plan, steps: int, seed: int, seconds: float | None) -> Task:
    made = _Unfrozen()
    made.id, made.evals, made.teacher, made.progress, made.tags, made.role = id, 1, None, None, {}, ""
    made.member, made.parent, made.hparams, made.note, made.donor, made.forecast = plan
    made.steps, made.seed, made.seconds = steps, seed, seconds
    made.__class__ = Task
    task: Task = made
    return task


def member_seeds(history: History, seats: Sequence[int], population: int) -> list[int]:
    """Returns the seeds of the next tasks of these seats, which do not depend on the order in which results arrived.

    The k-th task of a seat has the seed that it would have if the seats took turns: that of the id ``k * population + seat``.

    Args:
        history: the tasks and results so far.
        seats: whose next task is decided.
        population: number of seats.
    """
    begun = history.fold(("tasks of each seat", population), np.zeros(population, int), _count_tasks)
    return [task_seed(history.seed, int(begun[seat]) * population + seat) for seat in seats]


def _count_tasks(begun: np.ndarray, history: History, line: Line) -> np.ndarray:
    if not (tasks := tasks_of(line)):
        return begun
    return begun + np.bincount([task.member for task in tasks], minlength=len(begun))


def _at(history: History, name: str, ids: list[int]) -> np.ndarray:
    """Returns a column at these tasks, and 0 for each -1; shape of `ids`."""
    if not history.n:
        return np.zeros(len(ids), int)
    return np.where(np.array(ids, int) >= 0, history.column(name)[ids], 0)


def turns(history: History, sync: bool, shared_budget: bool = False) -> list[int]:
    """Returns the seats that may get a task now, in order: those without a pending task that failed or have steps left.

    Args:
        history: at least one round of it: the seats are those that have had a task.
        sync: return no seat while any task is pending.
        shared_budget: as in `segments`.
    """
    if sync and history.waiting:
        return []
    heads = history.heads()
    open: np.ndarray = history.column("told")[heads] >= history.lines
    seats: list[int] = np.flatnonzero(~open & ~finished(history, heads, shared_budget)).tolist()
    return seats


def finished(history: History, ids: np.ndarray, shared_budget: bool = False) -> np.ndarray:
    """Returns True for tasks whose lineage has reached the budget, or whose seat has; shape of `ids`, bool.

    A failed task is not finished: its member is still to be replaced. With `shared_budget` only the lineage counts.
    """
    if history.budget is None:
        return np.zeros(len(ids), bool)
    at_budget = history.oks_of(ids) & (history.column("step")[ids] >= history.budget)
    done: np.ndarray = at_budget if shared_budget else at_budget | (history.column("spent")[ids] >= history.budget)
    return done


def needed(history: History) -> frozenset[int]:
    """Returns the tasks whose checkpoints the seats hold.

    That is the right answer of an algorithm's `needed` if every parent is the newest result of some seat.
    """
    standing = history.standing()
    standing = standing[standing >= 0]
    return frozenset(standing[history.oks_of(standing)].tolist())


# -- checks of arguments ------------------------------------------------------------------------------------------------


def check_interval(what: str, interval: object) -> None:
    """Raises a `UsageError` unless the interval is a whole number of steps from 1, or `Seconds`."""
    if isinstance(interval, Seconds):
        return
    if isinstance(interval, bool) or not isinstance(interval, int) or not 1 <= interval < MAX_WHOLE:
        raise UsageError(
            f"{what}: interval={interval!r:.60}, expected a whole number of steps from 1, or pt.seconds(s).{as_whole(interval)}"
        )


def check_population(what: str, population: object, initial: Sequence[Mapping[str, Value]] = ()) -> None:
    """Raises a `UsageError` unless the population is a whole number from 1 that has a seat for every initial member."""
    if isinstance(population, bool) or not isinstance(population, int) or not 1 <= population <= MAX_SEATS:
        raise UsageError(
            f"{what}: population={population!r:.60}, expected a whole number from 1 to {MAX_SEATS:,}.{as_whole(population)}"
        )
    if not isinstance(initial, Sequence) or isinstance(initial, str):
        raise _no_list(initial)
    if len(initial) > population:
        raise UsageError(
            f"{what}: initial has {counted(len(initial), 'configuration')} for a population of {population}; "
            f"raise population to {len(initial)} or drop {len(initial) - population} of them."
        )


def check_starts(what: str, starts: object) -> None:
    """Raises a `UsageError` unless `starts` is one of `Starts`, or None."""
    if starts not in (None, *get_args(Starts)):
        near = did_you_mean(str(starts), get_args(Starts))
        raise UsageError(f"{what}: starts={starts!r}, expected 'spread' or 'random'.{near}")


def check_count(what: str, name: str, value: object, least: int) -> None:
    """Raises a `UsageError` unless the argument `name` is a whole number from `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < MAX_WHOLE:
        raise UsageError(f"{what}: {name}={value!r:.60}, expected a whole number from {least}.{as_whole(value)}")


def check_space(what: str, space: object) -> None:
    """Raises a `UsageError` unless `space` is a `Space`."""
    if not isinstance(space, Space):
        raise UsageError(f"{what}: got {type(space).__name__} as the space, expected pt.Space(lr=pt.LogUniform(1e-4, 1e-1), …).")


def freeze(initial: Sequence[Mapping[str, Value]], space: Space) -> tuple[Hparams, ...]:
    """Returns the initial configurations as hashable mappings, each checked against the space.

    Raises:
        UsageError: a configuration has an unknown name or a value outside the bounds.
    """
    if isinstance(initial, (Mapping, str)):
        raise _no_list(initial)
    frozen = []
    for index, partial in enumerate(initial):
        if not isinstance(partial, Mapping):
            raise UsageError(f"initial[{index}]={partial!r}: expected a mapping from parameter names to values.")
        space.complete(partial, rng(0, "check"))
        frozen.append(FrozenDict(partial))
    return tuple(frozen)


def _no_list(initial: object) -> UsageError:
    return UsageError(f"initial={initial!r:.80}: expected a list of configurations, for example initial=[{{'lr': 1e-3}}].")


class FrozenDict(dict[str, V]):
    """A dict that never changes, so that the frozen algorithm that holds it can be hashed."""

    def __hash__(self) -> int:  # type: ignore[override]  # a dict sets __hash__ to None
        return hash(tuple(sorted((name, repr(value)) for name, value in self.items())))
