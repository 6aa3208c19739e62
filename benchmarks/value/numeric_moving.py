"""Numeric problems with an optimum that moves: drift, jump, narrow slot, diagonal valley, 40 rounds, delayed effect.

`s` is the share of the budget that is over, u(x) the code of a hyperparameter (0 to 1 on the scale of its range), d a distance in
codes, and v the speed of `problem.Speed`: v = max(1 - Σ (d / width)², -1/5) unless a formula says something else.
"""

from __future__ import annotations

import math

import numpy as np

import poptrain as pt
from benchmarks.value.problem import CHOOSE, CONFIRM, Codes, Speed, State, bowl


class Drift(Speed):
    """Two optima that drift in opposite directions, and one that stays."""

    name, half = "drift", CHOOSE
    space = pt.Space(lr=pt.LogUniform(1e-6, 1e-1), entropy=pt.LogUniform(1e-5, 1.0), clip=pt.Uniform(0.0, 1.0))
    formula = "lr falls and entropy rises by .3 to .7 of their ranges, along a cosine; clip stays; widths .25, .35, .6"

    def draw(self, generator: np.random.Generator) -> None:
        self.lr, self.lr_end = generator.uniform(0.65, 0.9), generator.uniform(0.2, 0.35)
        self.entropy, self.entropy_end = generator.uniform(0.15, 0.3), generator.uniform(0.6, 0.85)
        self.clip = generator.uniform(0.2, 0.8)

    def speed(self, codes: Codes, share: float, theta: float) -> float:
        way = (1 - math.cos(math.pi * share)) / 2
        lr = self.lr + (self.lr_end - self.lr) * way
        entropy = self.entropy + (self.entropy_end - self.entropy) * way
        return bowl((codes["lr"] - lr, 0.25), (codes["entropy"] - entropy, 0.35), (codes["clip"] - self.clip, 0.6))


class Jump(Speed):
    """Two optima that jump, each at a time of its own, once or twice."""

    name, half = "jump", CONFIRM
    rate = 0.01
    space = pt.Space(lr=pt.LogUniform(1e-6, 1e-1), decay=pt.LogUniform(1e-7, 1e-2))
    formula = "lr jumps twice and decay once, at times and to places that the seed draws; widths .25 and .35"

    def draw(self, generator: np.random.Generator) -> None:
        self.times = (generator.uniform(0.2, 0.4), generator.uniform(0.55, 0.75), generator.uniform(0.35, 0.65))
        first, third = generator.uniform(0.1, 0.4), generator.uniform(0.1, 0.9)
        self.lr = (first, generator.uniform(0.6, 0.9), third)
        self.decay = generator.permutation([generator.uniform(0.1, 0.35), generator.uniform(0.65, 0.9)]).tolist()

    def speed(self, codes: Codes, share: float, theta: float) -> float:
        lr = self.lr[int(share >= self.times[0]) + int(share >= self.times[1])]
        decay = self.decay[int(share >= self.times[2])]
        return bowl((codes["lr"] - lr, 0.25), (codes["decay"] - decay, 0.35))


class Slot(Speed):
    """A plateau: a member learns only in a narrow slot, which moves; outside nothing happens, and nothing says where it is."""

    name, half = "slot", CHOOSE
    rate = 0.012
    space = pt.Space(lr=pt.LogUniform(1e-6, 1e-1), target=pt.LogUniform(1e-4, 1.0), none=pt.Uniform(0.0, 1.0))
    formula = (
        "v = 1 - (d(lr) / .12)² / 2 where d(lr) < .12 and d(target) < .25, else 0; lr's slot moves by at most .3; "
        "none has no effect"
    )

    def draw(self, generator: np.random.Generator) -> None:
        self.lr, self.move = generator.uniform(0.35, 0.65), generator.uniform(-0.3, 0.3)
        self.target = generator.uniform(0.25, 0.75)

    def speed(self, codes: Codes, share: float, theta: float) -> float:
        off = (codes["lr"] - self.lr - self.move * share) / 0.12
        return 1 - off * off / 2 if abs(off) < 1 and abs(codes["target"] - self.target) < 0.25 else 0.0


class Valley(Speed):
    """Two parameters that only fit together: a narrow diagonal valley, along which the optimum wanders."""

    name, half = "valley", CONFIRM
    space = pt.Space(lr=pt.LogUniform(1e-6, 1e-1), batch=pt.LogInt(8, 65536))
    formula = (
        "with a = u(lr) - u(batch) and b = (u(lr) + u(batch)) / 2: widths .15 for a, .5 for b; b's optimum moves from end to end"
    )

    def draw(self, generator: np.random.Generator) -> None:
        self.offset = generator.uniform(-0.2, 0.2)
        self.along = generator.permutation([generator.uniform(0.2, 0.35), generator.uniform(0.65, 0.8)]).tolist()

    def speed(self, codes: Codes, share: float, theta: float) -> float:
        lr, batch = codes["lr"], codes["batch"]
        along = self.along[0] + (self.along[1] - self.along[0]) * share
        return bowl((lr - batch - self.offset, 0.15), ((lr + batch) / 2 - along, 0.5))


class Long(Speed):
    """40 rounds: three optima on waves of their own."""

    name, half = "long", CONFIRM
    rounds = 40
    rate = 0.005
    space = pt.Space(lr=pt.LogUniform(1e-6, 1e-1), momentum=pt.Complement(0.5, 0.9999), noise=pt.LogUniform(1e-5, 1.0))
    formula = "each optimum is .5 + .3 sin(2π (s f + φ)) with f from .3 to .8 and φ from the seed; widths .25, .4, .4"

    def draw(self, generator: np.random.Generator) -> None:
        self.waves = list(zip(generator.uniform(0.3, 0.8, 3).tolist(), generator.uniform(0, 1, 3).tolist(), strict=True))

    def speed(self, codes: Codes, share: float, theta: float) -> float:
        at = [0.5 + 0.3 * math.sin(2 * math.pi * (share * f + phase)) for f, phase in self.waves]
        return bowl((codes["lr"] - at[0], 0.25), (codes["momentum"] - at[1], 0.4), (codes["noise"] - at[2], 0.4))


class Delay(Speed):
    """What a value does shows rounds later: the speed follows it slowly."""

    name, half = "delay", CHOOSE
    rate = 0.01
    lag = 24  # steps, two rounds
    space = pt.Space(lr=pt.LogUniform(1e-6, 1e-1), discount=pt.Complement(0.5, 0.9999))
    formula = (
        "w ← w + (v - w) / 24 from 0, θ ← θ + .01 (1 - θ) w; lr's optimum falls by .2 to .5, discount's stays; widths .25, .4"
    )

    def draw(self, generator: np.random.Generator) -> None:
        self.lr, self.fall = generator.uniform(0.6, 0.85), generator.uniform(0.2, 0.5)
        self.discount = generator.uniform(0.3, 0.8)

    def start(self) -> State:
        return (0.0, 0.0)

    def speed(self, codes: Codes, share: float, theta: float) -> float:
        return bowl((codes["lr"] - self.lr + self.fall * share, 0.25), (codes["discount"] - self.discount, 0.4))

    def advance(self, state: State, codes: Codes, step: int) -> State:
        theta, moving = state
        return self.moved(theta, moving, self.speed(codes, step / self.steps, theta))

    def moved(self, theta: float, moving: float, speed: float) -> State:
        """Returns (θ, w) after a step at speed v."""
        moving += (speed - moving) / self.lag
        return max(theta + self.rate * (1 - theta) * moving, -0.25), moving

    def oracle(self) -> float:
        """Returns θ at v = 1 all the time: θ grows with every w, and w with every v."""
        state: State = self.start()
        for _ in range(self.steps):
            state = self.moved(*state, 1.0)
        return state[0]
