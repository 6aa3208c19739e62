"""A Gaussian process over training segments. It is fitted once a round, evaluated, and extended by pending points.

    L L' = K + (σ_n² + jitter) I,   α = K⁻¹ y,   μ(z) = k(z, Z) α,   σ²(z) = k(z, z) - ‖L⁻¹ k(Z, z)‖²
    fit: minimise ½ y'α + Σ log L_ii + ½ n log 2π - log prior(θ) over the kernel's θ and log σ_n²

Pending points (GP-BUCB) change only the variance: their inputs extend L, and their values, still unknown, are not used.
The noise of two gains is not independent if one segment ends with the score that the other begins with (`rows`).

The parameters are fitted from two starts on at most 128 rows (`Effort`) spread over the window. The better result is refined on
all rows. Both steps use exact derivatives. θ is then rounded to three digits, and the data were rounded before (`rows`), so that
neither an affine transform of the scores nor the arithmetic of another machine changes a decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError as LinAlgError
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize

from poptrain.algorithms.gp.kernels import Inputs, Kernel, gaps
from poptrain.algorithms.gp.priors import logarithm
from poptrain.algorithms.gp.threads import one_thread as one_thread

JITTERS = (1e-8, 1e-6, 1e-4, 1e-2)  # in units of the diagonal, tried in this order
NOISE = logarithm("noise", 0.05, 0.5, 1e-4, 3.0, 1.5)
REFINE_ITERATIONS = 8  # on all rows


@dataclass(frozen=True, eq=False)
class Posterior:
    """A process conditioned on observations (`mean`) and on pending inputs too (`sd`)."""

    kernel: Kernel
    theta: np.ndarray  # of the kernel, then log σ_n²
    alpha: np.ndarray  # (n,) K⁻¹ y
    spread: Inputs  # the observations, then the pending inputs
    factor: np.ndarray  # (n + pending, n + pending) lower triangle

    @property
    def noise(self) -> float:
        """The variance σ_n² of one observation."""
        return float(np.exp(self.theta[-1]))

    @property
    def signal(self) -> float:
        """The share of σ_f² in σ_f² + σ_n²: near 0 the process takes all differences between observations for noise."""
        variance = self.kernel.variance(self.theta[:-1])
        return variance / (variance + self.noise)

    def parameters(self) -> dict[str, float]:
        """Returns the fitted parameters by name, on their natural scale: variances, length-scales, ε, λ."""
        return {**self.kernel.readable(self.theta[:-1]), "noise": self.noise}

    def ask(self, at: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and standard deviation (without noise) at m inputs; shapes (m,)."""
        mean, half = self._conditioned(at)
        variance = self.kernel.variance(self.theta[:-1]) - np.einsum("ij,ij->j", half, half)
        return mean, np.sqrt(np.maximum(variance, 1e-12))

    def against_first(self, at: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and standard deviation of how much higher the process is than at the first input; shapes (m - 1,)."""
        mean, half = self._conditioned(at)
        covariance = self.kernel.matrix(self.theta[:-1], at, at) - half.T @ half
        variance = covariance.diagonal()[1:] + covariance[0, 0] - 2 * covariance[0, 1:]
        return mean[1:] - mean[0], np.sqrt(np.maximum(variance, 1e-9))

    def _conditioned(self, at: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean at m inputs, and L⁻¹ k(Z, at); shapes (m,), (n + pending, m)."""
        cross = self.kernel.matrix(self.theta[:-1], self.spread, at)
        mean: np.ndarray = self.alpha @ cross[: len(self.alpha)]
        half: np.ndarray = solve_triangular(self.factor, cross, lower=True, check_finite=False, overwrite_b=False)
        return mean, half

    def with_pending(self, more: Inputs) -> Posterior:
        """Returns the posterior with the same mean, and the spread that remains after observations at `more`."""
        if not len(more):
            return self
        kernel, theta = self.kernel, self.theta[:-1]
        side = solve_triangular(self.factor, kernel.matrix(theta, self.spread, more), lower=True, check_finite=False)
        corner = kernel.matrix(theta, more, more)
        corner[np.diag_indices(len(more))] += self.noise
        n, m = len(self.factor), len(more)
        factor = np.zeros((n + m, n + m), order="F")
        factor[:n, :n], factor[n:, :n], factor[n:, n:] = self.factor, side.T, cholesky(corner - side.T @ side)
        return Posterior(kernel, self.theta, self.alpha, self.spread.join(more), factor)


class Effort(NamedTuple):
    """How long a fit searches for its parameters."""

    rows: int  # that both starts are fitted on
    iterations: int


THOROUGH = Effort(128, 40)
QUICK = Effort(64, 25)  # enough for the best of a few candidates, at a third of the time


def fit(kernel: Kernel, inputs: Inputs, y: np.ndarray, noise: np.ndarray | None = None, effort: Effort = THOROUGH) -> Posterior:
    """Returns the process with the most probable parameters, conditioned on ``y`` (standardised, shape (n,)) at `inputs`.

    Args:
        noise: covariance of the noise of the observations, in units of σ_n²; shape (n, n). None: independent.

    Raises:
        LinAlgError: no jitter made the covariance positive definite.
    """
    hypers = (*kernel.hypers, NOISE)
    if not y.any():  # no differences to learn from: use the prior, whose spread fills the space
        return condition(kernel, np.array([hyper.starts[0] for hyper in hypers]), inputs, y, noise)
    bounds = [(hyper.low, hyper.high) for hyper in hypers]
    few = np.unique(np.linspace(0, len(y) - 1, min(effort.rows, len(y))).round().astype(int))
    target = _Target(kernel, inputs.rows(few), y[few], None if noise is None else noise[np.ix_(few, few)])
    starts = [np.array([hyper.starts[start] for hyper in hypers]) for start in (0, 1)]
    theta = min((_minimised(target, start, bounds, effort.iterations) for start in starts), key=lambda pair: pair[0])[1]
    if len(few) < len(y):
        theta = _minimised(_Target(kernel, inputs, y, noise), theta, bounds, REFINE_ITERATIONS)[1]
    return condition(kernel, theta.round(3), inputs, y, noise)


def condition(kernel: Kernel, theta: np.ndarray, inputs: Inputs, y: np.ndarray, noise: np.ndarray | None = None) -> Posterior:
    """Returns the process under given parameters (the kernel's, then log σ_n²); `noise` as for `fit`."""
    covariance = kernel.matrix(theta[:-1], inputs, inputs)
    _add_noise(covariance, float(np.exp(theta[-1])), noise)
    factor = cholesky(covariance)
    half = solve_triangular(factor, y, lower=True, check_finite=False)
    alpha = solve_triangular(factor, half, lower=True, trans=1, check_finite=False)
    return Posterior(kernel, theta, alpha, inputs, factor)


def _add_noise(covariance: np.ndarray, variance: float, noise: np.ndarray | None, ridge: float = 0.0) -> None:
    """Adds σ_n² times the noise's covariance, or times the identity for None, and a ridge on the diagonal."""
    if noise is not None:
        covariance += variance * noise
    covariance[np.diag_indices(len(covariance))] += ridge if noise is not None else variance + ridge


def cholesky(covariance: np.ndarray) -> np.ndarray:
    """Returns the lower factor, after adding the smallest jitter to the diagonal that makes the matrix positive definite.

    Raises:
        LinAlgError: a hundredth of the diagonal was not enough, or the matrix is not finite.
    """
    scale = float(np.diag(covariance).mean()) if len(covariance) else 1.0
    for jitter in JITTERS:
        padded = covariance.copy(order="F")
        padded[np.diag_indices(len(padded))] += jitter * scale
        factor, info = dpotrf(padded, lower=1, clean=1, overwrite_a=1)
        if info == 0 and np.isfinite(factor[-1:, -1:]).all():
            lower: np.ndarray = factor
            return lower
    raise LinAlgError("the covariance is not positive definite, even with a hundredth of its diagonal added")


class _Target:
    """Negative log posterior of the parameters, with its derivative."""

    def __init__(self, kernel: Kernel, inputs: Inputs, y: np.ndarray, noise: np.ndarray | None):
        self.kernel, self.inputs, self.y, self.noise = kernel, inputs, y, noise
        self.gaps = gaps(inputs.time, inputs.time)
        hypers = (*kernel.hypers, NOISE)
        self.mean, self.sd = np.array([hyper.mean for hyper in hypers]), np.array([hyper.sd for hyper in hypers])
        self.diagonal = np.diag_indices(len(y))

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        y, n = self.y, len(self.y)
        covariance, backward = self.kernel.gram(theta[:-1], self.inputs, self.gaps)
        noise = float(np.exp(theta[-1]))
        padded = covariance.copy(order="F")
        _add_noise(padded, noise, self.noise, 1e-8 * covariance[0, 0])
        factor, info = dpotrf(padded, lower=1, clean=1, overwrite_a=1)
        if info:
            return 1e25, np.zeros_like(theta)
        log_determinant = np.log(factor[self.diagonal]).sum()
        inverse, info = dpotri(factor, lower=1, overwrite_c=1)
        inverse = inverse + np.tril(inverse, -1).T
        alpha = inverse @ y
        weight = np.multiply.outer(alpha, alpha)
        weight -= inverse
        weight *= -0.5  # ∂nll/∂K
        away = (theta - self.mean) / self.sd
        value = 0.5 * y @ alpha + log_determinant + 0.5 * n * np.log(2 * np.pi) + 0.5 * away @ away
        by_noise = np.trace(weight) if self.noise is None else np.vdot(weight, self.noise)
        slope = np.append(backward(weight), noise * by_noise) + away / self.sd
        return float(value), slope


def _minimised(
    target: _Target, start: np.ndarray, bounds: list[tuple[float, float]], iterations: int
) -> tuple[float, np.ndarray]:
    options = {"maxiter": iterations, "maxfun": 2 * iterations, "ftol": 1e-9, "gtol": 1e-4}
    found = minimize(target, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return float(found.fun), np.asarray(found.x)
