"""Covariances between training segments whose results drift in time, with their derivatives. PB2 (arXiv:2002.02518) and PB2-Mix
(arXiv:2106.15883).

    paper           here                 meaning
    t               `Inputs.time`        when a segment began, in intervals; shape (n,)
    x               `Inputs.units`       the score before, then the hyperparameters, each in [0, 1]; shape (n, d)
    c               `Inputs.categories`  the index of each categorical's option; shape (n, m)
    k_SE            in `TimeVarying`     exp(-½ Σ (u_i - v_i)² / l_i²)
    (1-ε)^(|Δt|/2)  `forgetting`         correlation that remains after |Δt| intervals: all of it for ε = 0, none for ε = 1
    σ_f², l, ε, λ   `theta`              unconstrained: log σ_f², log l, log l_i/l per column, logit(2ε), logit λ

Every column has a length-scale of its own, l_i = l δ_i with δ_i log-normal around 1 (sd 0.25). With few rows all columns share
about one length; with many rows their lengths differ. (docs/decisions.md compares this with one length, and with free lengths.)

Departures from the reference code: derivatives are right (checked by finite differences; the reference's length-scale
derivative has the wrong sign), ε stays inside [0, ½] and λ inside [0, 1] by their transforms, time is counted in intervals and
not scaled to the run, and the diagonal comes from the formula.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

MOST_FORGOTTEN = 0.5  # ε is below this value, so at least √½ of the correlation remains after one interval


@dataclass(frozen=True, eq=False, slots=True)
class Inputs:
    """Where the process is observed or evaluated: one row for each segment."""

    time: np.ndarray  # (n,)
    units: np.ndarray  # (n, d)
    categories: np.ndarray  # (n, m), int

    def __len__(self) -> int:
        return len(self.time)

    def rows(self, index: np.ndarray | slice) -> Inputs:
        """Returns some of the rows."""
        return Inputs(self.time[index], self.units[index], self.categories[index])

    def join(self, other: Inputs) -> Inputs:
        """Returns these rows, then the others."""
        pairs = ((self.time, other.time), (self.units, other.units), (self.categories, other.categories))
        return Inputs(*map(np.concatenate, pairs))


class Hyper(NamedTuple):
    """One parameter of a kernel on its unconstrained scale: starts of the search, bounds, and a weak Gaussian prior."""

    name: str
    starts: tuple[float, float]
    low: float
    high: float
    mean: float
    sd: float


Backward = Callable[[np.ndarray], np.ndarray]  # Σ_ij W_ij ∂K_ij/∂θ for a symmetric W; shape (parameters,)


class Kernel(Protocol):
    """A stationary covariance whose diagonal is `variance(theta)`."""

    @property
    def hypers(self) -> tuple[Hyper, ...]:
        """The parameters, in the order of `theta`."""
        ...

    def variance(self, theta: np.ndarray) -> float:
        """Returns k(z, z), which is the same everywhere."""
        ...

    def lengths(self, theta: np.ndarray) -> np.ndarray:
        """Returns the length-scale of every column of the units; shape (d,)."""
        ...

    def readable(self, theta: np.ndarray) -> dict[str, float]:
        """Returns the parameters by name, on their natural scale."""
        ...

    def matrix(self, theta: np.ndarray, a: Inputs, b: Inputs) -> np.ndarray:
        """Returns K(a, b); shape (n, m)."""
        ...

    def gram(self, theta: np.ndarray, a: Inputs, gaps: np.ndarray) -> tuple[np.ndarray, Backward]:
        """Returns K(a, a) and its derivative; `gaps` is |Δt|, which does not change during a fit."""
        ...

    def slope(self, theta: np.ndarray, one: Inputs, b: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Returns k(one, b) and its derivative by the units of `one`; shapes (n,), (n, d)."""
        ...


# -- parts ------------------------------------------------------------------------------------------------------------


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns ‖a_i - b_j‖², shape (n, m), never below 0."""
    squares: np.ndarray = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2 * (a @ b.T)
    np.maximum(squares, 0, out=squares)
    return squares


def gaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns |t_i - t_j|, shape (n, m)."""
    apart: np.ndarray = np.abs(a[:, None] - b[None, :])
    return apart


def rate(epsilon: float) -> float:
    """Returns r with exp(-r |Δt| / 2) = (1-ε)^(|Δt|/2); at ε = 1 so large that only equal times correlate."""
    return min(-float(np.log1p(-epsilon)), 1e6) if epsilon < 1 else 1e6


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


def sigmoid(r: float) -> float:
    """Returns 1 / (1 + exp(-r))."""
    return float(1 / (1 + np.exp(-r)))


def forgotten(r: float) -> float:
    """Returns ε from its unconstrained parameter."""
    return MOST_FORGOTTEN * sigmoid(r)


def logarithm(name: str, value: float, other: float, low: float, high: float, sd: float) -> Hyper:
    """Returns the logarithm of a positive parameter: two starts, bounds, and the sd of its prior around the first start."""
    start, second, lowest, highest = np.log([value, other, low, high]).tolist()
    return Hyper(name, (start, second), lowest, highest, start, sd)


def _hypers(names: tuple[str, ...]) -> tuple[Hyper, ...]:
    apart = [Hyper(name, (0.0, 0.0), -3.0, 3.0, 0.0, 0.25) for name in names]
    return (logarithm("variance", 1.0, 1.0, 0.05, 1000.0, 2.0), logarithm("length", 0.5, 1.0, 0.05, 10.0, 1.0), *apart)


def _epsilon(name: str) -> Hyper:
    return Hyper(name, (-1.386, -4.0), -9.0, 4.0, -5.0, 2.0)  # starts at ε = 0.1 and 0.009; between 6e-5 and 0.49


# -- kernels ----------------------------------------------------------------------------------------------------------


class TimeVarying:
    """σ_f² k_SE (1-ε)^(|Δt|/2), and with `apart` 0 between different categories: then each has a process of its own.

    Args:
        names: of the columns of `units`.
        apart: rows of different categories are independent, under shared parameters.
    """

    def __init__(self, names: tuple[str, ...], apart: bool = False):
        self.names, self.apart = names, apart
        self.hypers = (*_hypers(names), _epsilon("forgetting"))

    def variance(self, theta: np.ndarray) -> float:
        return float(np.exp(theta[0]))

    def lengths(self, theta: np.ndarray) -> np.ndarray:
        """Returns the length-scale of every column; shape (d,)."""
        lengths: np.ndarray = np.exp(theta[1] + theta[2:-1])
        return lengths

    def readable(self, theta: np.ndarray) -> dict[str, float]:
        return {**_readable(self, theta), "forgetting": forgotten(theta[-1])}

    def matrix(self, theta: np.ndarray, a: Inputs, b: Inputs) -> np.ndarray:
        lengths = self.lengths(theta)
        exponent = squared_distances(a.units / lengths, b.units / lengths)
        exponent += rate(forgotten(theta[-1])) * gaps(a.time, b.time)
        return self._masked(self.variance(theta) * np.exp(-0.5 * exponent), a, b)

    def gram(self, theta: np.ndarray, a: Inputs, gaps: np.ndarray) -> tuple[np.ndarray, Backward]:
        lengths = self.lengths(theta)
        scaled = a.units / lengths
        epsilon = forgotten(theta[-1])
        exponent = squared_distances(scaled, scaled)
        exponent += rate(epsilon) * gaps
        exponent *= -0.5
        kernel = self._masked(np.multiply(np.exp(exponent, out=exponent), self.variance(theta), out=exponent), a, a)

        def backward(weight: np.ndarray) -> np.ndarray:
            weighted = weight * kernel
            by_length = _by_length(weighted, scaled)
            # dK/dε = -K |Δt| / (2 (1-ε)),  dε/dr = ε (1 - ε/ε_max)
            by_epsilon = -0.5 * np.vdot(weighted, gaps) / (1 - epsilon) * epsilon * (1 - epsilon / MOST_FORGOTTEN)
            return np.concatenate([[weighted.sum()], by_length, [by_epsilon]])

        return kernel, backward

    def slope(self, theta: np.ndarray, one: Inputs, b: Inputs) -> tuple[np.ndarray, np.ndarray]:
        lengths = self.lengths(theta)
        apart = (b.units - one.units) / lengths
        exponent = np.einsum("ij,ij->i", apart, apart) + rate(forgotten(theta[-1])) * np.abs(b.time - one.time)
        row = self._masked((self.variance(theta) * np.exp(-0.5 * exponent))[None], one, b)[0]
        return row, row[:, None] * (apart / lengths)

    def _masked(self, kernel: np.ndarray, a: Inputs, b: Inputs) -> np.ndarray:
        if self.apart and a.categories.shape[1]:
            kernel *= equal_share(a.categories, b.categories) == 1
        return kernel


class Mixed:
    """σ_f² [(1-λ) ½ (k₁ + k₂) + λ k₁ k₂] (CoCaBO with unit diagonal, arXiv:2106.15883).

    k₁ = k_SE (1-ε₁)^(|Δt|/2) over `units`; k₂ = share of equal categories (1-ε₂)^(|Δt|/2) over the categories.
    """

    def __init__(self, names: tuple[str, ...]):
        self.names = names
        mix = Hyper("mixing", (0.0, 0.0), -6.0, 6.0, 0.0, 1.5)
        self.hypers = (*_hypers(names), _epsilon("forgetting"), _epsilon("forgetting of categories"), mix)

    def variance(self, theta: np.ndarray) -> float:
        return float(np.exp(theta[0]))

    def lengths(self, theta: np.ndarray) -> np.ndarray:
        """Returns the length-scale of every column; shape (d,)."""
        lengths: np.ndarray = np.exp(theta[1] + theta[2:-3])
        return lengths

    def readable(self, theta: np.ndarray) -> dict[str, float]:
        epsilons = {"forgetting": forgotten(theta[-3]), "forgetting of categories": forgotten(theta[-2])}
        return {**_readable(self, theta), **epsilons, "mixing": sigmoid(theta[-1])}

    def matrix(self, theta: np.ndarray, a: Inputs, b: Inputs) -> np.ndarray:
        return self._mix(theta, *self._pair(theta, a, b, gaps(a.time, b.time)))

    def gram(self, theta: np.ndarray, a: Inputs, gaps: np.ndarray) -> tuple[np.ndarray, Backward]:
        k1, k2 = self._pair(theta, a, a, gaps)
        kernel = self._mix(theta, k1, k2)

        def backward(weight: np.ndarray) -> np.ndarray:
            variance, mix = self.variance(theta), sigmoid(theta[-1])
            by_k1 = weight * variance * ((1 - mix) / 2 + mix * k2) * k1
            by_k2 = weight * variance * ((1 - mix) / 2 + mix * k1) * k2
            by_length = _by_length(by_k1, a.units / self.lengths(theta))
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


def _by_length(weighted: np.ndarray, scaled: np.ndarray) -> np.ndarray:
    """Returns Σ_ij A_ij (u_i - u_j)² of each column, after their sum, without an (n, n, d) array; A is symmetric."""
    columns = 2 * (weighted.sum(1) @ (scaled * scaled) - np.einsum("ij,ij->j", scaled, weighted @ scaled))
    return np.concatenate([[columns.sum()], columns])


def _readable(kernel: TimeVarying | Mixed, theta: np.ndarray) -> dict[str, float]:
    lengths = {f"length {name}": float(value) for name, value in zip(kernel.names, kernel.lengths(theta), strict=True)}
    return {"variance": kernel.variance(theta), **lengths}
