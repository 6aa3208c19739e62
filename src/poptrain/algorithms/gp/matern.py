"""The covariance of BG-PBT (arXiv:2207.09405): Matérn over numbers, overlap over categories, and their drift in time.

    k(z, z') = σ_f² k_T [ (1-λ) ½ (k_x + k_h) + λ k_x k_h ]     only k_x without categories, only k_h without numbers      (1)
    k_x = (1 + √5 r + 5/3 r²) exp(-√5 r),   r² = Σ (u_i - v_i)² / l_i²          numbers, whole numbers and ordinals        (2)
    k_h = exp(-1/m Σ ω_i [c_i ≠ c'_i])                                          m categories                               (3)
    k_T = (1-ε)^(|Δt|/2)                                                        the drift of everything                    (4)

    paper   here                                     shape
    l_i     `lengths`: exp(θ_l + θ_i), one a column  (d,)
    ω_i     exp of one parameter a category          (m,)
    λ       `mixing`: learned, or fixed to ½         scalar
    ε       learned, at most ½                       scalar

Departures from the reference code: every length-scale is fitted (there the Matérn lengths and the weights of categories are never
trained), and the diagonal is σ_f² whatever the parameters are.
"""

from __future__ import annotations

import numpy as np

from poptrain.algorithms.gp.kernels import (
    MOST_FORGOTTEN,
    Backward,
    Inputs,
    Kernel,
    by_length_scale,
    forgotten,
    gaps,
    sigmoid,
    squared_distances,
)
from poptrain.algorithms.gp.mixed import forgetting
from poptrain.algorithms.gp.priors import Hyper, logarithm


class MaternOverlap(Kernel):
    """The covariance (1).

    Args:
        names: of the columns of `units`.
        categories: number of categorical columns, m.
        relevance: standard deviation of the prior of log l_i around the length that all columns share: large if many columns may
            not matter.
        learned_mixing: False: λ is ½, as in the paper.
    """

    def __init__(self, names: tuple[str, ...], categories: int, relevance: float = 1.0, learned_mixing: bool = True):
        super().__init__(names)
        self.categories = categories
        length = 0.5 * max(1.0, np.sqrt(len(names)) / 2)  # points of a cube are further apart, the more columns it has
        apart = [Hyper(name, (0.0, 0.0), -3.0, 3.0, 0.0, relevance) for name in names]
        weights = [logarithm(f"category {index}", 1.0, 3.0, 0.05, 20.0, 1.0) for index in range(categories)]
        free = 6.0 if learned_mixing else 0.0
        self.hypers = (
            logarithm("variance", 1.0, 1.0, 0.05, 1000.0, 2.0),
            logarithm("length", length, 2 * length, 0.05, 20.0, 1.0),
            *apart,
            *weights,
            Hyper("forgetting", (-1.386, -4.0), -9.0, 4.0, -5.0, 2.0),  # ε = 0.1 and 0.009; between 6e-5 and 0.49
            Hyper("mixing", (0.0, 0.0), -free, free, 0.0, 1.5),
        )

    def weights(self, theta: np.ndarray) -> np.ndarray:
        """Returns how much a difference in each category counts; shape (m,)."""
        weights: np.ndarray = np.exp(theta[2 + len(self.names) : -2])
        return weights

    def readable(self, theta: np.ndarray) -> dict[str, float]:
        weights = {f"category {index}": float(w) for index, w in enumerate(self.weights(theta))}
        mix = {"mixing": sigmoid(theta[-1])} if self.categories and self.names else {}
        return {**super().readable(theta), **weights, "forgetting": forgotten(theta[-2]), **mix}

    def matrix(self, theta: np.ndarray, a: Inputs, b: Inputs) -> np.ndarray:
        numbers, _ = self._numbers(theta, a, b)
        drift = forgetting(forgotten(theta[-2]), gaps(a.time, b.time))
        mixed: np.ndarray = self.variance(theta) * drift * self._mix(theta, numbers, self._overlap(theta, a, b))
        return mixed

    def gram(self, theta: np.ndarray, a: Inputs, gaps: np.ndarray) -> tuple[np.ndarray, Backward]:
        numbers, steepness = self._numbers(theta, a, a)
        overlap = self._overlap(theta, a, a)
        epsilon = forgotten(theta[-2])
        drift = self.variance(theta) * forgetting(epsilon, gaps)
        kernel = drift * self._mix(theta, numbers, overlap)

        def backward(weight: np.ndarray) -> np.ndarray:
            mix, weighted = sigmoid(theta[-1]), weight * drift
            by_numbers, by_overlap = self._shares(theta, weighted, numbers, overlap)
            scaled = a.units / self.lengths(theta)
            pulled = by_numbers * steepness  # dk_x/d log l_i = 5/3 (1 + √5 r) exp(-√5 r) (u_i - v_i)² / l_i²
            by_length = by_length_scale(pulled, scaled)
            counted = by_overlap * overlap / max(self.categories, 1)
            by_weights = [
                -w * float((counted * (c[:, None] != c[None, :])).sum())
                for w, c in zip(self.weights(theta), a.categories.T, strict=True)
            ]
            seen = weight * kernel
            by_epsilon = -0.5 * np.vdot(seen, gaps) / (1 - epsilon) * epsilon * (1 - epsilon / MOST_FORGOTTEN)
            both = self.categories and self.names
            by_mix = np.vdot(weighted, numbers * overlap - (numbers + overlap) / 2) * mix * (1 - mix) if both else 0.0
            return np.concatenate([[seen.sum()], by_length, by_weights, [by_epsilon, by_mix]])

        return kernel, backward

    def slope(self, theta: np.ndarray, one: Inputs, b: Inputs) -> tuple[np.ndarray, np.ndarray]:
        numbers, steepness = self._numbers(theta, one, b)
        overlap = self._overlap(theta, one, b)
        drift = self.variance(theta) * forgetting(forgotten(theta[-2]), gaps(one.time, b.time))
        by_numbers, _ = self._shares(theta, drift, numbers, overlap)
        row = (drift * self._mix(theta, numbers, overlap))[0]
        return row, (by_numbers * steepness)[0][:, None] * (b.units - one.units) / self.lengths(theta) ** 2

    def _numbers(self, theta: np.ndarray, a: Inputs, b: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Returns k_x, eq. (2), and -2 dk_x/d(r²)."""
        if not self.names:
            return np.ones((len(a), len(b))), np.zeros((len(a), len(b)))
        lengths = self.lengths(theta)
        root = np.sqrt(5 * squared_distances(a.units / lengths, b.units / lengths))
        decay = np.exp(-root)
        return (1 + root + root * root / 3) * decay, (5 / 3) * (1 + root) * decay

    def _overlap(self, theta: np.ndarray, a: Inputs, b: Inputs) -> np.ndarray:
        """Returns k_h, eq. (3)."""
        apart = np.zeros((len(a), len(b)))
        for weight, mine, other in zip(self.weights(theta), a.categories.T, b.categories.T, strict=True):
            apart += weight * (mine[:, None] != other[None, :])
        overlap: np.ndarray = np.exp(-apart / max(self.categories, 1))
        return overlap

    def _mix(self, theta: np.ndarray, numbers: np.ndarray, overlap: np.ndarray) -> np.ndarray:
        """Returns what is in the brackets of eq. (1)."""
        if not self.categories or not self.names:
            product: np.ndarray = numbers * overlap  # one of them is 1
            return product
        mix = sigmoid(theta[-1])
        mixed: np.ndarray = (1 - mix) / 2 * (numbers + overlap) + mix * numbers * overlap
        return mixed

    def _shares(
        self, theta: np.ndarray, weighted: np.ndarray, numbers: np.ndarray, overlap: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the derivatives of Σ W [bracket of (1)] by k_x and by k_h."""
        if not self.categories or not self.names:
            return weighted * overlap, weighted * numbers
        mix = sigmoid(theta[-1])
        return weighted * ((1 - mix) / 2 + mix * overlap), weighted * ((1 - mix) / 2 + mix * numbers)
