"""Numeric problems of unusual spaces or budgets: useless dimensions, mixed inputs, integers, a corner, few rounds.

The words are those of `numeric_moving`.
"""

from __future__ import annotations

import numpy as np

import poptrain as pt
from benchmarks.value.problem import CHOOSE, CONFIRM, Codes, Speed, State, bowl


class Useless(Speed):
    """Twelve hyperparameters, of which two matter; the seed draws which."""

    name, half = "useless", CHOOSE
    space = pt.Space({f"x{i}": pt.LogUniform(1e-5, 1.0) if i % 2 else pt.Uniform(0.0, 1.0) for i in range(12)})
    formula = "two of twelve matter, widths .25; the first drifts by .4, the second stays"

    def draw(self, generator: np.random.Generator) -> None:
        self.a, self.b = (f"x{i}" for i in generator.permutation(12)[:2])
        self.at, self.sign = generator.uniform(0.3, 0.7), generator.choice([-1.0, 1.0])
        self.other = generator.uniform(0.2, 0.8)

    def speed(self, codes: Codes, share: float, theta: float) -> float:
        return bowl((codes[self.a] - self.at - self.sign * 0.4 * (share - 0.5), 0.25), (codes[self.b] - self.other, 0.25))


class Mixed(Speed):
    """Five options of which the best one changes twice; each has a learning rate of its own; there is an ordinal as well."""

    name, half = "mixed", CONFIRM
    rate = 0.01
    space = pt.Space(
        lr=pt.LogUniform(1e-6, 1e-1),
        optimizer=pt.Choice("a", "b", "c", "d", "e"),
        size=pt.Ordinal(16, 32, 64, 128, 256, 512),
    )
    formula = (
        "v = max(h - (d(lr) / .3)² - (d(size) / .7)², -1/5): the best option of the third has h = 1, the second .5, "
        "the others .1; "
        "each option has its own optimum of lr"
    )

    def draw(self, generator: np.random.Generator) -> None:
        self.order = generator.permutation(5).tolist()
        self.lr = generator.uniform(0.2, 0.8, 5).tolist()
        self.size = float(generator.integers(1, 5)) / 5
        self.times = (generator.uniform(0.25, 0.4), generator.uniform(0.6, 0.75))

    def speed(self, codes: Codes, share: float, theta: float) -> float:
        option = int(codes["optimizer"])
        third = int(share >= self.times[0]) + int(share >= self.times[1])
        behind = (self.order[option] - third) % 5
        height = (1.0, 0.5, 0.1, 0.1, 0.1)[behind]
        return bowl((codes["lr"] - self.lr[option], 0.3), (codes["size"] - self.size, 0.7), height=height)


class Integers(Speed):
    """Whole numbers and ordinals only; two of the optima move by a few levels."""

    name, half = "integers", CHOOSE
    space = pt.Space(
        epochs=pt.Int(1, 30), batch=pt.LogInt(16, 16384), layers=pt.Ordinal(1, 2, 3, 4, 6, 8), horizon=pt.LogInt(1, 100)
    )
    formula = "epochs' optimum falls by .4 and batch's rises by .5, those of layers and horizon stay; widths .35, .3, .6, .5"

    def draw(self, generator: np.random.Generator) -> None:
        self.epochs, self.batch = generator.uniform(0.6, 0.9), generator.uniform(0.1, 0.4)
        self.layers, self.horizon = float(generator.integers(0, 6)) / 5, generator.uniform(0.2, 0.8)

    def targets(self, share: float) -> dict[str, tuple[float, float]]:
        """Returns the (optimum, width) of every hyperparameter."""
        return {"epochs": (self.epochs - 0.4 * share, 0.35), "batch": (self.batch + 0.5 * share, 0.3),
                "layers": (self.layers, 0.6), "horizon": (self.horizon, 0.5)}  # fmt: skip

    def speed(self, codes: Codes, share: float, theta: float) -> float:
        return bowl(*((codes[name] - at, width) for name, (at, width) in self.targets(share).items()))

    def oracle(self) -> float:
        """Returns θ with the level that is nearest to each optimum, at every step: the space is separable."""
        state: State = self.start()
        levels = {name: np.array([p.encode(v) for v in _values(p)]) for name, p in self.space.items()}
        for step in range(self.steps):
            targets = self.targets(step / self.steps)
            nearest = {name: float(codes[np.abs(codes - targets[name][0]).argmin()]) for name, codes in levels.items()}
            state = self.advance(state, nearest, step)
        return state[0]


def _values(parameter: object) -> list[int]:
    if isinstance(parameter, pt.Ordinal):
        return list(parameter.options)
    return list(range(parameter.low, parameter.high + 1))  # type: ignore[attr-defined]


class Corner(Speed):
    """The optimum is at an end of three ranges of four."""

    name, half = "corner", CONFIRM
    space = pt.Space(
        lr=pt.LogUniform(1e-6, 1e-1), trace=pt.Uniform(0.9, 1.0), entropy=pt.LogUniform(1e-6, 1e-1), clip=pt.Uniform(0.0, 1.0)
    )
    formula = (
        "trace's and entropy's optima are at an end that the seed draws, lr's comes to an end, clip's is inside; "
        "widths .4 (lr), .5, .5, .6"
    )

    def draw(self, generator: np.random.Generator) -> None:
        self.lr, self.trace, self.entropy = generator.integers(0, 2, 3).astype(float).tolist()
        self.clip = generator.uniform(0.3, 0.7)

    def speed(self, codes: Codes, share: float, theta: float) -> float:
        lr = self.lr + (1 - 2 * self.lr) * 0.4 * (1 - share)
        return bowl((codes["lr"] - lr, 0.4), (codes["trace"] - self.trace, 0.5), (codes["entropy"] - self.entropy, 0.5),
                    (codes["clip"] - self.clip, 0.6))  # fmt: skip


class Short(Speed):
    """Three to five rounds in all."""

    name, half = "short", CHOOSE
    rate = 0.04
    space = pt.Space(lr=pt.LogUniform(1e-6, 1e-1), decay=pt.LogUniform(1e-6, 1e-1), dropout=pt.Uniform(0.0, 0.9))
    formula = "3, 4 or 5 rounds (the remainder of the seed by 3); lr's optimum falls by .3, the others stay; widths .3, .45, .6"

    def draw(self, generator: np.random.Generator) -> None:
        self.rounds = 3 + self.seed % 3
        self.lr, self.decay, self.dropout = generator.uniform(0.5, 0.85), generator.uniform(0.2, 0.8), generator.uniform(0.1, 0.6)

    def speed(self, codes: Codes, share: float, theta: float) -> float:
        return bowl((codes["lr"] - self.lr + 0.3 * share, 0.3), (codes["decay"] - self.decay, 0.45),
                    (codes["dropout"] - self.dropout, 0.6))  # fmt: skip
