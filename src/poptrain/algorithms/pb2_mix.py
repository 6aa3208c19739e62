"""PB2-Mult and PB2-Mix. Parker-Holder, Nguyen, Desai, Roberts 2021, "Tuning Mixed Input Hyperparameters on the Fly for Efficient
Population Based AutoRL", NeurIPS, arXiv:2106.15883.

PB2 with categories chosen first, by one bandit for each categorical hyperparameter:

    for each categorical:  c_b ← TV.EXP3.M draw of as many arms as members are replaced          (1) `bandit.py`
    PB2-Mult:  x_b ← PB2 with the rows whose categories are c_b                                  (2) a process for each category
    PB2-Mix:   x_b ← argmax UCB of one process over (t, R_before, c, x) at c = c_b               (3) CoCaBO kernel with time
    after the interval:  reward of c ← rank of its gain among those of the round, in [0, 1]      (4)

    paper   here                                      shape
    c       options of every `Choice`                 (m,)
    w, p    weights, probabilities of a `Choice`      (options,)
    k       members replaced at once (cap, DepRound)  scalar
    B       members: the k of γ and of the exponent   scalar
    T       budget / interval, 50 without a budget    scalar
    λ       mixing of sum and product, learned        scalar

Departures from the paper: rewards are ranks within a round, because gains shrink as training goes on; an arm that a survivor
uses is observed for certain, so its importance weight is 1; for other arms it is 1/p. The bandit's rounds are the lines in which
tasks were decided, so that asynchronous runs have rounds as well. A static `Choice` is an input, not an arm.
Departures from the reference code: see `bandit.py` and `gp/kernels.py`; the processes of PB2-Mult share their parameters
(one fit to all rows, in which different categories are independent), and a category with fewer than 3 rows of its own
learns from the rows of all instead of copying its parent.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from poptrain.algorithms import bandit
from poptrain.algorithms.gp.categories import Drawn, OneProcess
from poptrain.algorithms.gp.columns import ModelColumns
from poptrain.algorithms.gp.kernels import Kernel
from poptrain.algorithms.gp.mixed import Separate
from poptrain.core import History, Line, Result, Task
from poptrain.core.brief import brief
from poptrain.core.protocols import Clone
from poptrain.core.rng import rng
from poptrain.space import Choice, Space

ASSUMED_ROUNDS = 50  # T if there is no budget in steps


def tuned(space: Space) -> dict[str, Choice]:
    """Returns every `Choice` that is not static, by name."""
    return {name: p for name, p in space.items() if isinstance(p, Choice) and not p.static}


# -- categories of the clones -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bandits(ABC):
    """Draws the options of every `Choice` that is not static, by a TV.EXP3.M bandit each."""

    interval: int | None

    @property
    def chosen(self) -> bool:
        """False: they are drawn."""
        return False

    def draw(self, history: History, space: Space, clones: Sequence[Clone], probability: float) -> list[Drawn]:
        """Returns the options of each clone, and how probable each was."""
        choices = tuned(space)
        fold = BanditRounds(
            space, tuple(choices), tuple(len(choice.options) for choice in choices.values()), self._rounds(history)
        )
        state = fold.closed(history, history.fold(fold, fold.start(), fold.step))
        drawn: list[Drawn] = [({}, {}) for _ in clones]
        for weights, (name, choice) in zip(state.weights, choices.items(), strict=True):
            chances = bandit.probabilities(weights, len(clones), bandit.gamma(len(weights), history.seats, fold.rounds))
            arms = bandit.draw(chances, len(clones), rng(history.seed, history.n, "bandit", name))  # (1)
            for arm, (options, note) in zip(arms, drawn, strict=True):
                options[name] = choice.options[arm]
                note[f"chance {name}"] = float(chances[arm])
        return drawn

    def seen(self, space: Space) -> tuple[int, ...]:
        """Returns all categorical columns."""
        return ModelColumns.of(space).categorical

    def _rounds(self, history: History) -> int:
        return max(history.budget // self.interval, 1) if history.budget and self.interval else ASSUMED_ROUNDS


class Apart(_Bandits):
    """PB2-Mult: a process for each combination of categories, under shared parameters."""

    @property
    def separate(self) -> bool:
        """True: rows of different categories are independent."""
        return True

    def kernel(self, names: tuple[str, ...], categories: int) -> Kernel:
        """Returns the kernel of (2), which is 0 between different categories."""
        return Separate(names)


class Together(OneProcess, _Bandits):
    """PB2-Mix: one process over categories and numbers, with the kernel of (3)."""


# -- what the bandits have learned --------------------------------------------------------------------------------------


class BanditState(NamedTuple):
    """What a fold over the history knows of the bandits."""

    weights: tuple[np.ndarray, ...]  # of each categorical, (options,)
    issued: dict[int, tuple[tuple[np.ndarray, ...], int]]  # task -> (probability that each arm is observed, plays) of its round
    ended: tuple[int, ...]  # finished segments that have not been learned from


@dataclass(frozen=True)
class BanditRounds:
    """The fold. It learns from a round when the next tasks are decided; the order in which results came does not matter."""

    space: Space
    names: tuple[str, ...]
    arms: tuple[int, ...]
    rounds: int

    __repr__ = brief

    def start(self) -> BanditState:
        """Returns the state before the first line."""
        return BanditState(tuple(map(bandit.uniform, self.arms)), {}, ())

    def step(self, state: BanditState, history: History, line: Line) -> BanditState:
        """Returns the state after one more line."""
        tasks = [fact for fact in line if isinstance(fact, Task)]
        if tasks:
            state = self.closed(history, state)
            return state._replace(issued={**state.issued, **self._watched(history, state.weights, tasks)})
        return state._replace(ended=state.ended + tuple(fact.task for fact in line if isinstance(fact, Result)))

    def closed(self, history: History, state: BanditState) -> BanditState:
        """Returns the state after learning from all segments that have ended."""
        ids = [id for id in sorted(state.ended) if self._trained(history, id)]
        weights = state.weights
        if ids:
            gains = np.array([self._gain(history, id) for id in ids])
            rewards = ((gains[:, None] > gains).sum(1) + 0.5 * ((gains[:, None] == gains).sum(1) - 1)) / max(
                len(ids) - 1, 1
            )  # (4)
            if len(ids) == 1:
                rewards = np.array([self._alone(history, ids[0])])
            weights = tuple(self._learned(history, state, index, ids, rewards) for index in range(len(self.names)))
        ended = set(state.ended)
        return BanditState(weights, {id: known for id, known in state.issued.items() if id not in ended}, ())

    def _learned(self, history: History, state: BanditState, index: int, ids: list[int], rewards: np.ndarray) -> np.ndarray:
        """Returns the weights of one bandit after a round."""
        weights, p = state.weights[index], self.space[self.names[index]]
        by_arm: dict[int, list[float]] = {}
        seen = np.zeros(len(weights))
        plays = 1
        for id, reward in zip(ids, rewards.tolist(), strict=True):
            arm = int(p.encode(history.task(id).hparams[self.names[index]]))
            by_arm.setdefault(arm, []).append(reward)
            watched, plays = state.issued[id][0][index], max(plays, state.issued[id][1])
            seen[arm] = max(seen[arm], watched[arm])
        means = {arm: float(np.mean(values)) for arm, values in by_arm.items()}
        seats = history.seats
        share = bandit.gamma(len(weights), seats, self.rounds)
        part = len(ids) / seats  # an asynchronous round is a part of a synchronous one
        return bandit.updated(weights, means, seen, plays, share, self.rounds, part, len(ids))

    def _watched(
        self, history: History, weights: tuple[np.ndarray, ...], tasks: Sequence[Task]
    ) -> dict[int, tuple[tuple[np.ndarray, ...], int]]:
        """Returns for every task of a line the probability that each arm is observed: 1 if a survivor keeps it."""
        survivors = [task for task in tasks if not self._cloned(history, task)]
        plays = max(len(tasks) - len(survivors), 1)
        columns = []
        for values, name in zip(weights, self.names, strict=True):
            chances = bandit.probabilities(values, plays, bandit.gamma(len(values), history.seats, self.rounds))
            if plays >= len(values):
                chances = 1 - (1 - chances) ** plays
            chances = chances.copy()
            for task in survivors:
                chances[int(self.space[name].encode(task.hparams[name]))] = 1.0
            columns.append(chances)
        return {task.id: (tuple(columns), plays) for task in tasks}

    def _cloned(self, history: History, task: Task) -> bool:
        return task.parent is not None and history.task(task.parent).member != task.member

    def _trained(self, history: History, id: int) -> bool:
        parent = history.task(id).parent
        return history.ok(id) and history.ok(parent) and history.step(id) > history.step(parent)

    def _gain(self, history: History, id: int) -> float:
        """Returns the score gained per step in a trained segment."""
        parent = history.task(id).parent
        before = float("nan") if parent is None else history.score(parent)
        return (history.score(id) - before) / (history.step(id) - history.step(parent))

    def _alone(self, history: History, id: int) -> float:
        """Returns the reward of a segment that is a round of its own (in asynchronous runs): its rank among the newest ones."""
        mine = self._gain(history, id)
        others = [self._gain(history, head) for head in self._newest(history) if head != id]
        return float(np.mean([(mine > gain) + 0.5 * (mine == gain) for gain in others])) if others else 0.5

    def _newest(self, history: History) -> list[int]:
        """Returns the newest trained segment of every seat."""
        previous, found = history.column("prev"), []
        for head in history.heads().tolist():
            while head >= 0 and not self._trained(history, head):
                head = int(previous[head])
            if head >= 0:
                found.append(head)
        return found
