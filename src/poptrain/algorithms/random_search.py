"""Random search. Bergstra & Bengio 2012, "Random Search for Hyper-Parameter Optimization", JMLR 13.

    for each member: h ~ space;  train with h to the budget

The baseline of every study: members are independent, hyperparameters never change. Departure from the population methods:
a member that fails or diverges is *not* replaced by a clone, which would make members dependent; it stays failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from poptrain.algorithms.parts import turns
from poptrain.core import History, Task, Value
from poptrain.space import Space


def random_search(
    space: Space, population: int = 8, *, interval: int | turns.Seconds, initial: Sequence[Mapping[str, Value]] = ()
) -> Independent:
    """Returns random search: `population` configurations drawn once, each trained to the budget in steps of `interval`.

    Args:
        space: the hyperparameters and their ranges.
        population: number of configurations.
        interval: steps between two results of a member; nothing is decided there, but curves and checkpoints are kept.
        initial: known-good configurations for the first members; names left out are drawn.
    """
    turns.check_space("random_search", space)
    turns.check_population("random_search", population, initial)
    turns.check_interval("random_search", interval)
    return Independent(space, interval, population, turns.freeze(initial, space))


@dataclass(frozen=True)
class Independent:
    """Members that never meet: the first `len(initial)` configurations are given, the rest drawn."""

    space: Space
    interval: int | turns.Seconds
    population: int
    initial: tuple[Any, ...] = ()

    @property
    def seats(self) -> int:
        return self.population

    def ask(self, history: History) -> tuple[Task, ...]:
        """Returns the next segment of every member that is idle, healthy and below the budget."""
        if history.n == 0:
            return turns.first_round(history, self.space, self.population, self.interval, self.initial)
        heads = history.heads()
        healthy = history.oks_of(heads)
        going = [seat for seat in turns.turns(history, sync=False) if healthy[seat]]
        plans = [turns.Plan(seat, int(heads[seat]), history.task(int(heads[seat])).hparams) for seat in going]
        return turns.segments(history, plans, self.interval)

    def needed(self, history: History) -> frozenset[int]:
        """Returns the newest result of every member."""
        return turns.needed(history)
