"""Real schedules of PPO, all of which were trained before (`benchmarks.schedule_table`): a run only looks up what they reached.

Three rounds, nine settings, so the best schedule of all 729 is known: 1 - value is the regret. An instance is one of the three
trainings of each schedule, drawn from the seed: what was luck in it stays luck, as in a real run.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

import poptrain as pt
from benchmarks.schedule_table import DISCOUNTS, RATES, ROUNDS, SETTINGS, stored
from benchmarks.value.problem import CONFIRM, Codes, Problem, State


class Tabled(Problem):
    """A table; the state of a member is (rounds, place among all policies of that round)."""

    half = CONFIRM
    rounds, interval, noise = ROUNDS, 1, 0.0
    task: ClassVar[str]
    space = pt.Space(lr=pt.LogUniform(10**-4.5, 10**-1.5), discount=pt.Complement(0.9, 0.995))
    formula = "three rounds; each third of a range counts as one level: 1e-4, 1e-3, 1e-2, and .95, .98, .99"

    def draw(self, generator: np.random.Generator) -> None:
        self.untrained, trainings = stored(self.task)
        self.levels = trainings[generator.integers(len(trainings))]

    def start(self) -> State:
        return (0.0, 0.0)

    def advance(self, state: State, codes: Codes, step: int) -> State:
        rate, discount = (min(int(len(DISCOUNTS) * codes[name]), len(DISCOUNTS) - 1) for name in ("lr", "discount"))
        setting = SETTINGS.index((sorted(RATES)[rate], DISCOUNTS[discount]))
        return (state[0] + 1, state[1] * len(SETTINGS) + setting)

    def value(self, state: State) -> float:
        return float(self.levels[int(state[0]) - 1][int(state[1])]) if state[0] else self.untrained

    def oracle(self) -> float:
        """Returns the return of the best schedule."""
        return float(self.levels[-1].max())


class TableCartPole(Tabled):
    """All schedules of PPO on CartPole, 3 rounds of 1,500 steps: learning rate and discount."""

    name, task = "table_cartpole", "cartpole"


class TablePendulum(Tabled):
    """All schedules of PPO on Pendulum, 3 rounds of 30,000 steps: learning rate and discount."""

    name, task = "table_pendulum", "pendulum"


class Ordinals(Tabled):
    """The same table with three levels for each of both."""

    space = pt.Space(lr=pt.Ordinal(*sorted(RATES)), discount=pt.Ordinal(*DISCOUNTS))
    formula = "three rounds; lr is one of 1e-4, 1e-3, 1e-2, discount one of .95, .98, .99"

    def advance(self, state: State, codes: Codes, step: int) -> State:
        return super().advance(state, {name: round(2 * code) / 3 for name, code in codes.items()}, step)


class LevelsCartPole(Ordinals):
    """`table_cartpole` with ordinals."""

    name, task = "levels_cartpole", "cartpole"


class LevelsPendulum(Ordinals):
    """`table_pendulum` with ordinals."""

    name, task = "levels_pendulum", "pendulum"


TABLED: dict[str, type[Tabled]] = {each.name: each for each in (TableCartPole, LevelsCartPole, TablePendulum, LevelsPendulum)}
