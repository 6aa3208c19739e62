"""Covariances between training segments whose results drift in time, with their derivatives. PB2 (arXiv:2002.02518) and PB2-Mix
(arXiv:2106.15883).

    paper           here                 meaning
    t               `Inputs.time`        when a segment began, in intervals; shape (n,)
    x               `Inputs.units`       the score before, then the hyperparameters, each in [0, 1]; shape (n, d)
    c               `Inputs.categories`  the index of each categorical's option; shape (n, m)
    k_SE            in `TimeVarying`     exp(-½ Σ (u_i - v_i)² / l_i²)
    (1-ε)^(|Δt|/2)  exp(-½ `rate` |Δt|)  correlation that remains after |Δt| intervals: all of it for ε = 0, none for ε = 1
    σ_f², l, ε, λ   `theta`              unconstrained: log σ_f², log l, log l_i/l per column, logit(2ε), logit λ

Every column has a length-scale of its own, l_i = l δ_i with δ_i log-normal around 1 (sd 0.25). With few rows all columns share
about one length; with many rows their lengths differ. (docs/decisions.md compares this with one length, and with free lengths.)

Departures from the reference code: derivatives are right (checked by finite differences; the reference's length-scale
derivative has the wrong sign), ε stays inside [0, ½] and λ inside [0, 1] by their transforms, time is counted in intervals and
not scaled to the run, and the diagonal comes from the formula.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from poptrain.algorithms.gp.priors import Hyper, epsilon_of, hypers_of

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


Backward = Callable[[np.ndarray], np.ndarray]  # Σ_ij W_ij ∂K_ij/∂θ for a symmetric W; shape (parameters,)


class Kernel(ABC):
    """A stationary covariance. θ begins with log σ_f², log l and, for each column of `units`, log l_i/l."""

    hypers: tuple[Hyper, ...]  # the parameters, in the order of θ

    def __init__(self, names: tuple[str, ...]):
        """Remembers the names of the columns of `units`."""
        self.names = names

    def variance(self, theta: np.ndarray) -> float:
        """Returns σ_f² = k(z, z), which is the same everywhere."""
        return float(np.exp(theta[0]))

    def lengths(self, theta: np.ndarray) -> np.ndarray:
        """Returns the length-scale l_i of every column; shape (d,)."""
        lengths: np.ndarray = np.exp(theta[1] + theta[2 : 2 + len(self.names)])
        return lengths

    def readable(self, theta: np.ndarray) -> dict[str, float]:
        """Returns the parameters by name, on their natural scale."""
        lengths = zip(self.names, self.lengths(theta).tolist(), strict=True)
        return {"variance": self.variance(theta), **{f"length {name}": length for name, length in lengths}}

    @abstractmethod
    def matrix(self, theta: np.ndarray, a: Inputs, b: Inputs) -> np.ndarray:
        """Returns K(a, b); shape (n, m)."""

    @abstractmethod
    def gram(self, theta: np.ndarray, a: Inputs, gaps: np.ndarray) -> tuple[np.ndarray, Backward]:
        """Returns K(a, a) and its derivative; `gaps` is |Δt|, which does not change during a fit."""

    @abstractmethod
    def slope(self, theta: np.ndarray, one: Inputs, b: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Returns k(one, b) and its derivative by the units of `one`; shapes (n,), (n, d)."""


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


def sigmoid(r: float) -> float:
    """Returns 1 / (1 + exp(-r))."""
    return float(1 / (1 + np.exp(-r)))


def forgotten(r: float) -> float:
    """Returns ε from its unconstrained parameter."""
    return MOST_FORGOTTEN * sigmoid(r)


class TimeVarying(Kernel):
    """σ_f² k_SE (1-ε)^(|Δt|/2), which does not see categories."""

    def __init__(self, names: tuple[str, ...]):
        super().__init__(names)
        self.hypers = (*hypers_of(names), epsilon_of("forgetting"))

    def readable(self, theta: np.ndarray) -> dict[str, float]:
        return {**super().readable(theta), "forgetting": forgotten(theta[-1])}

    def matrix(self, theta: np.ndarray, a: Inputs, b: Inputs) -> np.ndarray:
        lengths = self.lengths(theta)
        exponent = squared_distances(a.units / lengths, b.units / lengths)
        exponent += rate(forgotten(theta[-1])) * gaps(a.time, b.time)
        kernel: np.ndarray = self.variance(theta) * np.exp(-0.5 * exponent)
        return kernel

    def gram(self, theta: np.ndarray, a: Inputs, gaps: np.ndarray) -> tuple[np.ndarray, Backward]:
        lengths = self.lengths(theta)
        scaled = a.units / lengths
        epsilon = forgotten(theta[-1])
        exponent = squared_distances(scaled, scaled)
        exponent += rate(epsilon) * gaps
        exponent *= -0.5
        kernel = np.multiply(np.exp(exponent, out=exponent), self.variance(theta), out=exponent)

        def backward(weight: np.ndarray) -> np.ndarray:
            weighted = weight * kernel
            by_length = by_length_scale(weighted, scaled)
            # dK/dε = -K |Δt| / (2 (1-ε)),  dε/dr = ε (1 - ε/ε_max)
            by_epsilon = -0.5 * np.vdot(weighted, gaps) / (1 - epsilon) * epsilon * (1 - epsilon / MOST_FORGOTTEN)
            return np.concatenate([[weighted.sum()], by_length, [by_epsilon]])

        return kernel, backward

    def slope(self, theta: np.ndarray, one: Inputs, b: Inputs) -> tuple[np.ndarray, np.ndarray]:
        lengths = self.lengths(theta)
        apart = (b.units - one.units) / lengths
        exponent = np.einsum("ij,ij->i", apart, apart) + rate(forgotten(theta[-1])) * np.abs(b.time - one.time)
        row = self.variance(theta) * np.exp(-0.5 * exponent)
        return row, row[:, None] * (apart / lengths)


def by_length_scale(weighted: np.ndarray, scaled: np.ndarray) -> np.ndarray:
    """Returns Σ_ij A_ij (u_i - u_j)² of each column, after their sum, without an (n, n, d) array; A is symmetric."""
    columns = 2 * (weighted.sum(1) @ (scaled * scaled) - np.einsum("ij,ij->j", scaled, weighted @ scaled))
    return np.concatenate([[columns.sum()], columns])
