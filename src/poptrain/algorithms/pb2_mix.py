"""PB2-Mult and PB2-Mix. Parker-Holder, Nguyen, Desai, Roberts 2021, "Tuning Mixed Input Hyperparameters on the Fly for Efficient
Population Based AutoRL", NeurIPS, arXiv:2106.15883.

PB2 with categories chosen first, by one bandit for each categorical hyperparameter:

    for each categorical:  c_b ← TV.EXP3.M draw of as many arms as members are replaced      `parts/bandit.py`
    PB2-Mult:  x_b ← PB2 with the rows whose categories are c_b                               one process a category
    PB2-Mix:   x_b ← argmax UCB of one process over (t, R_before, c, x) at c = c_b            CoCaBO kernel with time
    after the interval:  reward of c ← rank of its gain among the round's                     in [0, 1]

    paper   here                                      shape
    c       options of every `Choice`                 (m,)
    w, p    weights, probabilities of a `Choice`      (options,)
    k       members replaced at once (cap, DepRound)  scalar
    B       members: the k of γ and of the exponent   scalar
    T       budget / interval, 50 without a budget    scalar
    λ       mixing of sum and product, learned        scalar

Departures from the paper: rewards are ranks within a round, because gains shrink as training goes on; an arm that a survivor
uses is observed for certain, so that its importance weight is 1, and 1/p otherwise. The bandit's rounds are the lines in which
tasks were decided, so that asynchronous runs have them too. A static `Choice` is an input, not an arm.
Departures from the reference code: see `parts/bandit.py` and `parts/kernels.py`; the processes of PB2-Mult share their parameters
(one fit to all rows, with nothing in common between categories but those), and a category with fewer than 3 rows of its own
learns from the rows of all instead of copying its parent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from poptrain.algorithms import bandit
from poptrain.algorithms.gp.kernels import Kernel, Mixed, TimeVarying
from poptrain.algorithms.gp.rows import Columns
from poptrain.algorithms.parts import turns
from poptrain.algorithms.parts.exploit import truncation
from poptrain.algorithms.pb2 import LEAST, Drawn, Suggest, Uniformly, settings
from poptrain.algorithms.pbt import Pbt, make
from poptrain.core import History, Line, Task, Value
from poptrain.core.protocols import Clone, Exploit
from poptrain.core.rng import rng
from poptrain.space import Space

ROUNDS = 50  # T where no budget in steps is known


def pb2_mult(
    space: Space,
    population: int = 4,
    *,
    interval: int | turns.Seconds,
    sync: bool = True,
    exploit: Exploit | None = None,
    beta: str | float = "pb2",
    window: int | None = None,
    warmup: int = 0,
    average: int = 1,
    evaluate_first: bool = True,
    initial: Sequence[Mapping[str, Value]] = (),
) -> Pbt:
    """Returns PB2-Mult: categories by a bandit, numbers by a process for each category. Arguments as for `pb2`.

    Without a `Choice` to tune it is `pb2`.

    >>> import poptrain as pt
    >>> pt.pb2_mult(pt.Space(lr=pt.LogUniform(1e-4, 1e-1), aug=pt.Choice("crop", "flip")), interval=10).seats
    4
    """
    return _make("pb2_mult", Apart, space, population, interval, beta, window, sync=sync, exploit=exploit, warmup=warmup,
                 average=average, evaluate_first=evaluate_first, initial=initial)  # fmt: skip


def pb2_mix(
    space: Space,
    population: int = 4,
    *,
    interval: int | turns.Seconds,
    sync: bool = True,
    exploit: Exploit | None = None,
    beta: str | float = "pb2",
    window: int | None = None,
    warmup: int = 0,
    average: int = 1,
    evaluate_first: bool = True,
    initial: Sequence[Mapping[str, Value]] = (),
) -> Pbt:
    """Returns PB2-Mix: categories by a bandit, numbers by one process over categories and numbers. Arguments as for `pb2`.

    Without a `Choice` to tune it is `pb2`; without numbers it is the bandit alone.

    >>> import poptrain as pt
    >>> pt.pb2_mix(pt.Space(lr=pt.LogUniform(1e-4, 1e-1), aug=pt.Choice("crop", "flip")), interval=10).seats
    4
    """
    return _make("pb2_mix", Together, space, population, interval, beta, window, sync=sync, exploit=exploit, warmup=warmup,
                 average=average, evaluate_first=evaluate_first, initial=initial)  # fmt: skip


def _make(what: str, kind: Any, space: Any, population: Any, interval: Any, beta: Any, window: Any, **rest: Any) -> Pbt:
    turns.check_space(what, space)
    length, weight, rows = settings(what, population, interval, beta, window)
    choices = any(not p.numeric and not p.static for p in space.values())
    rest["explore"] = Suggest(length, weight, rows, kind(length) if choices else Uniformly())
    rest["exploit"] = truncation(0.25) if rest["exploit"] is None else rest["exploit"]
    algorithm = make(what, space, population, interval=interval, **rest)
    return algorithm if choices else replace(algorithm, name="pb2")


@dataclass(frozen=True)
class _Bandit:
    """Draws the options of every `Choice` that is not static, by a TV.EXP3.M bandit each."""

    interval: int | None

    def draw(self, history: History, space: Space, clones: Sequence[Clone]) -> list[Drawn]:
        """Returns the options of each clone, and how probable each was."""
        names = [name for name, p in space.items() if not p.numeric and not p.static]
        arms = tuple(len(space[name].options) for name in names)
        fold = Rounds(space, tuple(names), arms, self._rounds(history))
        state = fold.closed(history, history.fold(fold, fold.start(), fold.step))
        drawn: list[Drawn] = [({}, {}) for _ in clones]
        for weights, name in zip(state.weights, names, strict=True):
            chances = bandit.probabilities(weights, len(clones), bandit.gamma(len(weights), history.seats, fold.rounds))
            arms = bandit.draw(chances, len(clones), rng(history.seed, history.n, "bandit", name))
            for arm, (options, note) in zip(arms, drawn, strict=True):
                options[name] = space[name].options[arm]
                note[f"chance {name}"] = float(chances[arm])
        return drawn

    def seen(self, space: Space) -> tuple[int, ...]:
        return Columns.of(space).categorical

    def _rounds(self, history: History) -> int:
        return max(history.budget // self.interval, 1) if history.budget and self.interval else ROUNDS


class Apart(_Bandit):
    """PB2-Mult: a process for each combination of categories, under shared parameters."""

    def kernel(self, names: tuple[str, ...], categories: int) -> Kernel:
        return TimeVarying(names, apart=True)

    def pooled(self, rows: int) -> bool:
        return rows < LEAST


class Together(_Bandit):
    """PB2-Mix: one process over categories and numbers."""

    def kernel(self, names: tuple[str, ...], categories: int) -> Kernel:
        return Mixed(names) if categories else TimeVarying(names)

    def pooled(self, rows: int) -> bool:
        return False


class State(NamedTuple):
    """What a fold over the history knows of the bandits."""

    weights: tuple[np.ndarray, ...]  # of each categorical, (options,)
    issued: dict[int, tuple[tuple[np.ndarray, ...], int]]  # task -> (how probably each arm was observed, plays) of its round
    told: tuple[int, ...]  # finished segments that have not been learned from


@dataclass(frozen=True)
class Rounds:
    """The fold: a round is learned from when the next tasks are decided, in the order of task ids, whatever order told it."""

    space: Space
    names: tuple[str, ...]
    arms: tuple[int, ...]
    rounds: int

    def start(self) -> State:
        return State(tuple(map(bandit.uniform, self.arms)), {}, ())

    def step(self, state: State, history: History, line: Line) -> State:
        """Returns the state after one more line."""
        first = line[0]
        if isinstance(first, Task):
            state = self.closed(history, state)
            return state._replace(issued={**state.issued, **self._watched(history, state.weights, line)})
        told = tuple(result.task for result in line if hasattr(result, "score")) if hasattr(first, "score") else ()
        return state._replace(told=state.told + told)

    def closed(self, history: History, state: State) -> State:
        """Returns the state after learning from everything told so far."""
        ids = [id for id in sorted(state.told) if self._trained(history, id)]
        weights = state.weights
        if ids:
            gains = np.array([self._gain(history, id) for id in ids])
            rewards = ((gains[:, None] > gains).sum(1) + 0.5 * ((gains[:, None] == gains).sum(1) - 1)) / max(len(ids) - 1, 1)
            if len(ids) == 1:
                rewards = np.array([self._alone(history, ids[0])])
            weights = tuple(self._learned(history, state, index, ids, rewards) for index in range(len(self.names)))
        told = set(state.told)
        left = {id: known for id, known in state.issued.items() if id not in told}
        return State(weights, left, ())

    def _learned(self, history: History, state: State, index: int, ids: list[int], rewards: np.ndarray) -> np.ndarray:
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

    def _watched(self, history: History, weights: tuple[np.ndarray, ...], line: Line) -> dict[int, Any]:
        """Returns for every task of a line how probable it was that each arm is observed: 1 if a survivor keeps it."""
        clones = [task for task in line if self._cloned(history, task)]
        plays = max(len(clones), 1)
        survivors = [task for task in line if not self._cloned(history, task)]
        columns = []
        for values, name in zip(weights, self.names, strict=True):
            chances = bandit.probabilities(values, plays, bandit.gamma(len(values), history.seats, self.rounds))
            if plays >= len(values):
                chances = 1 - (1 - chances) ** plays
            chances = chances.copy()
            for task in survivors:
                chances[int(self.space[name].encode(task.hparams[name]))] = 1.0
            columns.append(chances)
        return {task.id: (tuple(columns), plays) for task in line}

    def _cloned(self, history: History, task: Task) -> bool:
        return task.parent is not None and history.task(task.parent).member != task.member

    def _trained(self, history: History, id: int) -> bool:
        parent = history.task(id).parent
        return history.ok(id) and history.ok(parent) and history.step(id) > history.step(parent)

    def _gain(self, history: History, id: int) -> float:
        parent = history.task(id).parent
        return (history.score(id) - history.score(parent)) / (history.step(id) - history.step(parent))

    def _alone(self, history: History, id: int) -> float:
        """Returns the reward of a segment that was told alone (asynchronous runs): its rank among the newest of every seat."""
        mine = self._gain(history, id)
        others = [self._gain(history, head) for head in self._newest(history) if head != id]
        return float(np.mean([(mine > gain) + 0.5 * (mine == gain) for gain in others])) if others else 0.5

    def _newest(self, history: History) -> list[int]:
        """Returns the newest finished segment of every seat."""
        previous, found = history.column("prev"), []
        for head in history.heads().tolist():
            while head >= 0 and not self._trained(history, head):
                head = int(previous[head])
            if head >= 0:
                found.append(head)
        return found
