"""Numeric problems of difficult scores: returns as in reinforcement learning, and heavy tails with lost evaluations.

The words are those of `numeric_moving`.
"""

from __future__ import annotations

import math

import numpy as np

import poptrain as pt
from benchmarks.value.problem import CHOOSE, CONFIRM, Codes, Problem, Speed, State, bowl


class Returns(Problem):
    """A return that starts slowly, gets noisier as it grows, and collapses at too high a learning rate."""

    name, half = "returns", CHOOSE
    space = pt.Space(
        lr=pt.LogUniform(1e-6, 1e-1),
        discount=pt.Complement(0.5, 0.9999),
        entropy=pt.LogUniform(1e-6, 1e-1),
        clip=pt.LogUniform(0.02, 0.8),
    )
    formula = (
        "θ ← θ + .045 (θ + .04) (1 - θ) v; lr's optimum falls by .35 as θ grows from 0 to 1; "
        "where lr is .2 of its range above it, θ loses 8 % a step; "
        "widths .25, .4, .6, .9; noise .03 + .15 θ"
    )
    rate = 0.045

    def draw(self, generator: np.random.Generator) -> None:
        self.lr, self.discount = generator.uniform(0.55, 0.8), generator.uniform(0.35, 0.85)
        self.entropy, self.clip = generator.uniform(0.2, 0.8), generator.uniform(0.2, 0.8)

    def advance(self, state: State, codes: Codes, step: int) -> State:
        theta = state[0]
        off = codes["lr"] - self.lr + 0.35 * theta
        if off > 0.2:
            return (0.92 * theta,)
        speed = bowl((off, 0.25), (codes["discount"] - self.discount, 0.4), (codes["entropy"] - self.entropy, 0.6),
                     (codes["clip"] - self.clip, 0.9))  # fmt: skip
        return (self.grown(theta, speed),)

    def grown(self, theta: float, speed: float) -> float:
        """Returns θ after a step at speed v."""
        return max(theta + self.rate * (theta + 0.04) * (1 - theta) * speed, 0.0)

    def measured(self, value: float, generator: np.random.Generator) -> float:
        return value + (0.03 + 0.15 * value) * generator.normal()

    def oracle(self) -> float:
        """Returns θ at v = 1 all the time: a step's result grows with θ and with v."""
        theta = 0.0
        for _ in range(self.steps):
            theta = self.grown(theta, 1.0)
        return theta


class Heavy(Speed):
    """Scores with heavy tails; some evaluations fail; a member is lost at far too high a learning rate."""

    name, half = "heavy", CONFIRM
    space = pt.Space(lr=pt.LogUniform(1e-6, 1e-1), target=pt.LogUniform(1e-4, 1.0))
    formula = (
        "lr's optimum falls by .3 to .5, target's stays; widths .3, .4; noise .03 t with a t of 1.5 degrees of freedom; "
        "1 % of the scores are NaN; θ is lost where lr is .35 of its range above the optimum"
    )

    def draw(self, generator: np.random.Generator) -> None:
        self.lr, self.fall = generator.uniform(0.5, 0.75), generator.uniform(0.3, 0.5)
        self.target = generator.uniform(0.2, 0.8)

    def advance(self, state: State, codes: Codes, step: int) -> State:
        if codes["lr"] > self.lr - self.fall * step / self.steps + 0.35:
            return (math.nan,)
        return super().advance(state, codes, step) if state[0] == state[0] else state

    def speed(self, codes: Codes, share: float, theta: float) -> float:
        return bowl((codes["lr"] - self.lr + self.fall * share, 0.3), (codes["target"] - self.target, 0.4))

    def measured(self, value: float, generator: np.random.Generator) -> float:
        noise, lost = 0.03 * generator.standard_t(1.5), generator.random() < 0.01
        return math.nan if lost else value + noise
