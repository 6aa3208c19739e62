"""What a cheap problem is: an instance drawn from a seed, dynamics that a member follows, and an oracle.

A member has a state, which `Problem.advance` moves by one step under the *codes* of its hyperparameters: each between 0 and 1 on
the scale of its range (the index of an option). The state has a true value; a score is that value with noise. A problem knows the
value that the best possible schedule reaches, so that a run is worth (value - start) / (oracle - start): 0 untrained, 1 perfect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

import poptrain as pt

State = tuple[float, ...]
Codes = Mapping[str, float]
CHOOSE, CONFIRM = "choose", "confirm"


class Problem:
    """One instance of a problem. Subclasses define the dynamics; everything random about an instance is drawn in `draw`."""

    name: ClassVar[str]
    half: ClassVar[str]  # "choose": algorithms may be tuned on it; "confirm": looked at afterwards
    space: ClassVar[pt.Space]
    formula: ClassVar[str]  # what the docs say
    rounds: int = 24
    interval: ClassVar[int] = 12  # steps in a round
    noise: ClassVar[float] = 0.02

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.draw(np.random.default_rng([seed, *map(ord, self.name)]))

    @property
    def steps(self) -> int:
        """The budget of a member."""
        return self.rounds * self.interval

    def draw(self, generator: np.random.Generator) -> None:
        """Draws the instance."""

    def start(self) -> State:
        """Returns the state of a fresh member."""
        return (0.0,)

    def advance(self, state: State, codes: Codes, step: int) -> State:
        """Returns the state after one step; `step` counts from 0. A NaN in it means that the member is lost."""
        raise NotImplementedError

    def value(self, state: State) -> float:
        """Returns the true value of a state."""
        return state[0]

    def measured(self, value: float, generator: np.random.Generator) -> float:
        """Returns a score: the value with noise; NaN if the evaluation failed."""
        return value + self.noise * generator.normal()

    def oracle(self) -> float:
        """Returns the true value that the best schedule reaches at the end."""
        raise NotImplementedError

    # -- the same for all -----------------------------------------------------------------------------------------------------

    def codes(self, hparams: Mapping[str, Any]) -> dict[str, float]:
        """Returns hyperparameters on the scale of their ranges."""
        return {name: float(self.space[name].encode(value)) for name, value in hparams.items()}

    @property
    def trainable(self) -> Any:
        """What `pt.run` trains."""
        return self.train

    @property
    def executor(self) -> Any:
        """Where it trains."""
        return "inline"

    untrained: ClassVar[float] = 0.0  # the quality of a member that never trained
    look_at_all: ClassVar[bool] = True  # the quality of every member is known, not only of the reported one

    def alone(self) -> tuple[Any, Any]:
        """Returns ``begin(hparams, seed) -> carry`` and ``advance(carry, hparams, seed) -> (carry, score)`` of one round."""
        return one_member(self.train, self.interval)

    def quality(self, carry: Any, seed: int) -> float:
        """Returns the worth of a member's training state, without noise."""
        return self.worth(self.value(tuple(carry["state"].tolist())))

    def worth(self, value: float) -> float:
        """Returns a true value on the scale from 0 (untrained) to 1 (oracle)."""
        start = self.value(self.start())
        return (value - start) / (self.ceiling - start)

    @cached_property
    def ceiling(self) -> float:
        """The oracle's value, computed once."""
        return self.oracle()

    def follow(self, schedule: Any) -> float:
        """Returns the worth of a schedule: ``schedule(step) -> codes``."""
        state = self.start()
        for step in range(self.steps):
            state = self.advance(state, schedule(step), step)
        return self.worth(self.value(state))

    def train(self, carry: Any, hp: Mapping[str, Any], steps: int, seed: int) -> tuple[Any, dict[str, Any]]:
        """Trains a member: the trainable of all contenders. Each step is evaluated, and so is a member that does not train."""
        generator, codes = np.random.default_rng(seed), self.codes(hp)
        first, state = (0, self.start()) if carry is None else (int(carry["step"]), tuple(carry["state"].tolist()))
        curve = []
        for step in range(first, first + steps):
            state = self.advance(state, codes, step)
            curve.append((step + 1, float(self.measured(self.value(state), generator))))
        score = curve[-1][1] if curve else float(self.measured(self.value(state), generator))
        return {"step": first + steps, "state": np.asarray(state)}, {"score": score, "curve": curve}


class Speed(Problem):
    """θ ← max(θ + rate (1 - θ) v, -1/4), where the speed v is at most 1, and 1 on the best schedule at every step."""

    rate: ClassVar[float] = 0.008

    def speed(self, codes: Codes, share: float, theta: float) -> float:
        """Returns v; `share` is the share of the budget that is over, from 0 to 1."""
        raise NotImplementedError

    def advance(self, state: State, codes: Codes, step: int) -> State:
        """Returns (θ,)."""
        theta = state[0]
        return (max(theta + self.rate * (1 - theta) * self.speed(codes, step / self.steps, theta), -0.25),)

    def oracle(self) -> float:
        """Returns θ at a speed of 1 all the time."""
        return float(1 - (1 - self.rate) ** self.steps)


def bowl(*terms: tuple[float, float], height: float = 1.0, floor: float = -0.2) -> float:
    """Returns max(height - Σ (distance / width)², floor) over the (distance, width) of `terms`."""
    return max(height - sum((distance / width) ** 2 for distance, width in terms), floor)


def one_member(train: Callable[..., Any], interval: int) -> tuple[Any, Any]:
    """Returns what `Problem.alone` returns, of a trainable that is a function."""

    def advance(carry: Any, hparams: Any, seed: int) -> tuple[Any, float]:
        carry, metrics = train(carry, hparams, interval, seed)
        return carry, metrics["score"]

    return (lambda hparams, seed: None), advance
