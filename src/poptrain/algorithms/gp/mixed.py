"""Covariances over categories and numbers: apart (PB2-Mult) and together (PB2-Mix). arXiv:2106.15883; notation of `kernels`."""

from __future__ import annotations

import numpy as np

from poptrain.algorithms.gp.kernels import (
    MOST_FORGOTTEN,
    Backward,
    Inputs,
    Kernel,
    TimeVarying,
    by_length_scale,
    forgotten,
    gaps,
    rate,
    sigmoid,
    squared_distances,
)
from poptrain.algorithms.gp.priors import Hyper, epsilon_of, hypers_of


class Separate(Kernel):
    """The kernel of PB2, and 0 between different categories: each has a process of its own, under shared parameters."""

    def __init__(self, names: tuple[str, ...]):
        super().__init__(names)
        self.within = TimeVarying(names)
        self.hypers = self.within.hypers

    def readable(self, theta: np.ndarray) -> dict[str, float]:
        return self.within.readable(theta)

    def matrix(self, theta: np.ndarray, a: Inputs, b: Inputs) -> np.ndarray:
        kernel: np.ndarray = self.within.matrix(theta, a, b) * _equal(a, b)
        return kernel

    def gram(self, theta: np.ndarray, a: Inputs, gaps: np.ndarray) -> tuple[np.ndarray, Backward]:
        same = _equal(a, a)
        kernel, backward = self.within.gram(theta, a, gaps)
        return kernel * same, lambda weight: backward(weight * same)

    def slope(self, theta: np.ndarray, one: Inputs, b: Inputs) -> tuple[np.ndarray, np.ndarray]:
        same = _equal(one, b)[0]
        row, slope = self.within.slope(theta, one, b)
        return row * same, slope * same[:, None]


def _equal(a: Inputs, b: Inputs) -> np.ndarray:
    """Returns where all categories are equal; shape (n, m), bool."""
    equal: np.ndarray = (a.categories[:, None, :] == b.categories[None, :, :]).all(2)
    return equal


class Mixed(Kernel):
    """σ_f² [(1-λ) ½ (k₁ + k₂) + λ k₁ k₂] (CoCaBO with unit diagonal, arXiv:2106.15883).

    k₁ = k_SE (1-ε₁)^(|Δt|/2) over `units`; k₂ = share of equal categories (1-ε₂)^(|Δt|/2) over the categories.
    """

    def __init__(self, names: tuple[str, ...]):
        super().__init__(names)
        mix = Hyper("mixing", (0.0, 0.0), -6.0, 6.0, 0.0, 1.5)
        self.hypers = (*hypers_of(names), epsilon_of("forgetting"), epsilon_of("forgetting of categories"), mix)

    def readable(self, theta: np.ndarray) -> dict[str, float]:
        epsilons = {"forgetting": forgotten(theta[-3]), "forgetting of categories": forgotten(theta[-2])}
        return {**super().readable(theta), **epsilons, "mixing": sigmoid(theta[-1])}

    def matrix(self, theta: np.ndarray, a: Inputs, b: Inputs) -> np.ndarray:
        return self._mix(theta, *self._pair(theta, a, b, gaps(a.time, b.time)))

    def gram(self, theta: np.ndarray, a: Inputs, gaps: np.ndarray) -> tuple[np.ndarray, Backward]:
        k1, k2 = self._pair(theta, a, a, gaps)
        kernel = self._mix(theta, k1, k2)

        def backward(weight: np.ndarray) -> np.ndarray:
            variance, mix = self.variance(theta), sigmoid(theta[-1])
            by_k1 = weight * variance * ((1 - mix) / 2 + mix * k2) * k1
            by_k2 = weight * variance * ((1 - mix) / 2 + mix * k1) * k2
            by_length = by_length_scale(by_k1, a.units / self.lengths(theta))
            by_epsilons = []
            for r, weighted in ((theta[-3], by_k1), (theta[-2], by_k2)):
                epsilon = forgotten(r)
                chain = epsilon * (1 - epsilon / MOST_FORGOTTEN)
                by_epsilons.append(-0.5 * np.vdot(weighted, gaps) / (1 - epsilon) * chain)
            by_mix = variance * np.vdot(weight, k1 * k2 - (k1 + k2) / 2) * mix * (1 - mix)
            return np.concatenate([[np.vdot(weight, kernel)], by_length, by_epsilons, [by_mix]])

        return kernel, backward

    def slope(self, theta: np.ndarray, one: Inputs, b: Inputs) -> tuple[np.ndarray, np.ndarray]:
        mix = sigmoid(theta[-1])
        k1, k2 = (part[0] for part in self._pair(theta, one, b, gaps(one.time, b.time)))
        by_k1 = self.variance(theta) * ((1 - mix) / 2 + mix * k2) * k1
        return self._mix(theta, k1, k2), by_k1[:, None] * (b.units - one.units) / self.lengths(theta) ** 2

    def _pair(self, theta: np.ndarray, a: Inputs, b: Inputs, gap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lengths = self.lengths(theta)
        exponent = squared_distances(a.units / lengths, b.units / lengths) + rate(forgotten(theta[-3])) * gap
        return np.exp(-0.5 * exponent), equal_share(a.categories, b.categories) * forgetting(forgotten(theta[-2]), gap)

    def _mix(self, theta: np.ndarray, k1: np.ndarray, k2: np.ndarray) -> np.ndarray:
        mix = sigmoid(theta[-1])
        mixed: np.ndarray = self.variance(theta) * ((1 - mix) / 2 * (k1 + k2) + mix * k1 * k2)
        return mixed


def forgetting(epsilon: float, gap: np.ndarray) -> np.ndarray:
    """Returns (1-ε)^(|Δt|/2), with 0⁰ = 1."""
    left: np.ndarray = np.exp(-0.5 * rate(epsilon) * gap)
    return left


def equal_share(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the share of equal categories, shape (n, m); 1 if there are no categories."""
    if not a.shape[1]:
        return np.ones((len(a), len(b)))
    shares: np.ndarray = (a[:, None, :] == b[None, :, :]).mean(2)
    return shares
