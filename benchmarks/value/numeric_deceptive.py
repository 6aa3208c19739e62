"""Numeric problems that deceive: what raises the score now costs score later.

The oracles are the best schedules with one value a round, found by coordinate ascent from several starts.
"""

from __future__ import annotations

import math

import numpy as np

import poptrain as pt
from benchmarks.value.problem import CHOOSE, CONFIRM, Codes, Problem, State


class Patience(Problem):
    """Effort goes into a foundation, which does not show, or into the score, which cannot pass the foundation."""

    name, half = "patience", CHOOSE
    space = pt.Space(share=pt.Uniform(0.0, 1.0), lr=pt.LogUniform(1e-6, 1e-1))
    formula = (
        "foundation b ← b + r share q (1 - b), score f ← f + .05 (1 - share) q (b - f), from b = .1 and f = 0; "
        "r from .009 to .015; "
        "q = max(1 - (d(lr) / .35)², 0); noise .01"
    )
    noise = 0.01

    def draw(self, generator: np.random.Generator) -> None:
        self.lr = generator.uniform(0.25, 0.75)
        self.slow = generator.uniform(0.009, 0.015)

    def start(self) -> State:
        return (0.0, 0.1)

    def advance(self, state: State, codes: Codes, step: int) -> State:
        quality = max(1 - ((codes["lr"] - self.lr) / 0.35) ** 2, 0.0)
        return self.moved(state[0], state[1], codes["share"], quality)

    def moved(self, score: float, base: float, share: float, quality: float) -> State:
        """Returns (f, b) after a step."""
        return (score + 0.05 * (1 - share) * quality * (base - score), base + self.slow * share * quality * (1 - base))

    def oracle(self) -> float:
        """Returns f of the best schedule of shares, with q = 1: a foundation first, the score at last, refined round by round."""
        levels = np.linspace(0, 1, 21)
        starts = [[1.0] * k + [0.0] * (self.rounds - k) for k in range(1, self.rounds)]
        best = max(starts, key=self._final)
        for _ in range(6):
            for k in range(self.rounds):
                best = max(([*best[:k], float(x), *best[k + 1 :]] for x in levels), key=self._final)
        return self._final(best)

    def _final(self, shares: list[float]) -> float:
        score, base = self.start()
        for share in shares:
            for _ in range(self.interval):
                score, base = self.moved(score, base, share, 1.0)
        return score


class Greedy(Problem):
    """SGD on a noisy quadratic, in expectation: a low rate or a large batch pays at once and starves the flat directions."""

    name, half = "greedy", CONFIRM
    space = pt.Space(lr=pt.LogUniform(1e-5, 1.0), batch=pt.LogInt(1, 256))
    formula = (
        "16 directions with curvatures λ from 1 to .003; a step makes 16 / √batch updates "
        "m ← (1 - lr λ)² m + lr² c / batch, from m = 1; "
        "the value is -log10(Σ λ m / 2); noise .03"
    )
    noise = 0.03
    curvature = np.logspace(0, -2.5, 16)

    def draw(self, generator: np.random.Generator) -> None:
        self.variance = 0.4 * self.curvature * generator.uniform(0.5, 2.0)

    def start(self) -> State:
        return (1.0,) * 16

    def value(self, state: State) -> float:
        return float(-np.log10(0.5 * (np.asarray(state) @ self.curvature)))

    def advance(self, state: State, codes: Codes, step: int) -> State:
        keep, add = self.map(np.array([codes["lr"]]), np.array([codes["batch"]]), 1)
        return tuple((keep[0] * np.asarray(state) + add[0]).tolist())

    def map(self, lr: np.ndarray, batch: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (p, q) of m ← p m + q over `steps` for arrays of codes; shapes (n, 16)."""
        rate, size = 10.0 ** (-5 + 5 * lr[:, None]), 256.0 ** batch[:, None]
        once = (1 - rate * self.curvature) ** 2
        keep = once ** (steps * 16 / np.sqrt(size))
        return keep, rate**2 * self.variance / size * (1 - keep) / (1 - once + 1e-15)

    def oracle(self) -> float:
        """Returns the value of the best schedule with one rate and one batch a round, on a fine grid.

        The rest of a schedule is an affine map of m, so that all choices of a round are compared exactly.
        """
        grid = np.array([(lr, batch) for lr in np.linspace(0.3, 1, 71) for batch in np.linspace(0, 1, 17)])
        keep, add = self.map(grid[:, 0], grid[:, 1], self.interval)
        found = [self._ascend(keep, add, int(start)) for start in range(0, len(grid), 400)]
        return max(found)

    def _ascend(self, keep: np.ndarray, add: np.ndarray, start: int) -> float:
        chosen, last = [start] * self.rounds, -math.inf
        for _ in range(30):
            after = [(np.ones(16), np.zeros(16))]  # what the rounds from k on do, from the last
            for k in reversed(chosen):
                p, q = after[-1]
                after.append((p * keep[k], p * add[k] + q))
            after = after[::-1]
            m = np.ones(16)
            for k in range(self.rounds):
                p, q = after[k + 1]
                chosen[k] = int(((p * (keep * m + add) + q) @ self.curvature).argmin())
                m = keep[chosen[k]] * m + add[chosen[k]]
            value = self.value(tuple(m))
            if value < last + 1e-7:
                break
            last = value
        return max(value, last)
