"""Random search. Bergstra & Bengio 2012, "Random Search for Hyper-Parameter Optimization", JMLR 13.

    for each member: h ~ space;  train with h to the budget

This is the baseline of every study: members are independent, and hyperparameters never change. Departure from the population
methods: a member that fails or diverges stays failed. A clone in its place would make members dependent.

Members are also independent of the order in which results arrive: each one trains the same segments with the same seeds on every
executor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from poptrain.algorithms.parts import turns
from poptrain.core import History, Hparams, Task, Value
from poptrain.core.answering import answering
from poptrain.core.brief import brief
from poptrain.core.interval import Interval
from poptrain.space import Space


@answering
def random_search(
    space: Space, population: int = 8, *, interval: Interval, initial: Sequence[Mapping[str, Value]] = ()
) -> Independent:
    """Returns random search: `population` configurations drawn once, each trained to the budget in steps of `interval`.

    Args:
        space: the hyperparameters and their ranges.
        population: number of configurations.
        interval: steps between two results of a member: nothing is decided then, but they make its curve and its checkpoints.
        initial: known-good configurations for the first members; names left out are drawn.
    """
    turns.check_space("random_search", space)
    turns.check_population("random_search", population, initial)
    turns.check_interval("random_search", interval)
    return Independent(space, interval, population, turns.freeze(initial, space))


@dataclass(frozen=True)
class Independent:
    """The algorithm as a value; see `random_search`. The first configurations are `initial`, the rest are drawn."""

    space: Space
    interval: Interval
    population: int
    initial: tuple[Hparams, ...] = ()
    seeds: Literal["member", "task"] = field(default="member", metadata={"absent": "task"})  # what the seed of a task is made of

    __repr__ = brief

    @property
    def seats(self) -> int:
        """The number of configurations."""
        return self.population

    def ask(self, history: History) -> tuple[Task, ...]:
        """Returns the next segment of every member that is idle, healthy and below the budget."""
        if history.n == 0:
            return turns.first_round(history, self.space, self.population, self.interval, self.initial)
        heads = history.heads()
        healthy = history.oks_of(heads)
        going = [seat for seat in turns.turns(history, sync=False) if healthy[seat]]
        plans = [turns.Plan(seat, int(heads[seat]), history.task(int(heads[seat])).hparams) for seat in going]
        seeds = turns.member_seeds(history, going, self.population) if self.seeds == "member" else None
        return turns.segments(history, plans, self.interval, seeds=seeds)

    def needed(self, history: History) -> frozenset[int]:
        """Returns the newest result of every member."""
        return turns.needed(history)
