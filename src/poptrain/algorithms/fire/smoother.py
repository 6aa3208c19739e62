"""Smoothing of a curve: the posterior mean of a Gaussian process, Matérn-5/2, fitted by type-II maximum likelihood.

    k(τ) = (1 + u + u²/3) exp(-u),  u = √5 τ / ℓ          τ in points, because a curve is equally spaced
    z    = (y - mean) / sd                                equivariant to shifts and to scales
    s²   = zᵀ (K + ρI)⁻¹ z / n                            amplitude, profiled out;  ρ: noise over signal
    LL   = -½ (n log s² + log |K + ρI|)                   maximised over a grid of (ℓ, ρ)
    ẑ    = K (K + ρI)⁻¹ z

K depends only on n and ℓ, so its eigendecomposition is cached, and a fit is a few products of matrices and vectors. Rasmussen &
Williams 2006, "Gaussian Processes for Machine Learning", sections 4.2 and 5.4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

LENGTHS = tuple(2.0**power for power in range(9))  # ℓ: 1 to 256 points
NOISES = np.logspace(-6, 1, 15)  # ρ
MOST_POINTS = 128  # points that are fitted; a longer curve is thinned to this number and interpolated
MIN_POINTS = 4  # in a shorter curve, noise and signal cannot be distinguished


def smooth(scores: Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns the smoothed curve; a curve of fewer than 4 points, or without variance, as it is.

    Args:
        scores: finite and equally spaced; shape (n,).

    >>> bool(abs(smooth([0.0, 1.0, 2.0, 3.0, 4.0])[2] - 2.0) < 0.01)
    True
    """
    y = np.asarray(scores, float)
    if len(y) < MIN_POINTS:
        return y
    if len(y) > MOST_POINTS:
        at = np.linspace(0, len(y) - 1, MOST_POINTS).round().astype(int)
        interpolated: np.ndarray = np.interp(np.arange(len(y)), at, smooth(y[at]))
        return interpolated
    mean, sd = y.mean(), y.std()
    if not sd > 1e-12 * np.abs(y).max():
        return y
    smoothed: np.ndarray = mean + sd * _posterior_mean((y - mean) / sd)
    return smoothed


def _posterior_mean(z: np.ndarray) -> np.ndarray:
    kernels = _kernels(len(z))
    rotated = z @ kernels.vectors  # (ℓ, n): Qᵀ z under each length
    s2 = np.einsum("ln,lrn->lr", rotated**2, kernels.inverse) / len(z)
    likelihood = -0.5 * (len(z) * np.log(s2) + kernels.logdet)
    length, noise = np.unravel_index(np.argmax(likelihood), likelihood.shape)
    shrunk = rotated[length] * kernels.values[length] * kernels.inverse[length, noise]  # λ / (λ + ρ)
    fitted: np.ndarray = kernels.vectors[length] @ shrunk
    return fitted


class _Kernels(NamedTuple):
    """K = Q diag(λ) Qᵀ of n points under every length."""

    vectors: np.ndarray  # Q: (lengths, n, n)
    values: np.ndarray  # λ: (lengths, n)
    inverse: np.ndarray  # 1 / (λ + ρ): (lengths, noises, n)
    logdet: np.ndarray  # log |K + ρI|: (lengths, noises)


@lru_cache(maxsize=64)
def _kernels(n: int) -> _Kernels:
    lengths = np.array([length for length in LENGTHS if length <= 2 * n])
    x = np.arange(n)
    u = np.sqrt(5) * np.abs(x[:, None] - x) / lengths[:, None, None]
    values, vectors = np.linalg.eigh((1 + u + u**2 / 3) * np.exp(-u))
    values = np.maximum(values, 0.0)
    shifted = values[:, None, :] + NOISES[:, None]
    return _Kernels(vectors, values, 1 / shifted, np.log(shifted).sum(-1))
