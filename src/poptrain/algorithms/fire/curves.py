"""Which of two training curves improves faster (Dalibard & Jaderberg 2021, arXiv:2109.13800, sections 3.1.1 and 3.2).

A curve consists of the equally spaced scores of one piece of training. Two curves are aligned at their own starts, not at
absolute steps. They are compared on their *overlap*: it begins where the lower one first reaches the start of the higher one.

Departures from the paper: the overlap is as long as the *shorter* remainder (the printed formula has max, its prose and Figure 3
say min); `best_score_diff` is antisymmetric also where one curve is strictly higher (the paper defines one side of it); both
ends of the range of penalties are tried; the binomial test does not count tied pairs; a single common point is not an overlap.

A curve is smoothed by the posterior mean of a Gaussian process, Matérn-5/2, fitted by type-II maximum likelihood:

    k(τ) = (1 + u + u²/3) exp(-u),  u = √5 τ / ℓ          τ in points, because a curve is equally spaced            (a)
    z    = (y - mean) / sd                                equivariant to shifts and to scales                       (b)
    s²   = zᵀ (K + ρI)⁻¹ z / n                            amplitude, profiled out;  ρ: noise over signal            (c)
    LL   = -½ (n log s² + log |K + ρI|)                   maximised over a grid of (ℓ, ρ)                           (d)
    ẑ    = K (K + ρI)⁻¹ z                                                                                           (e)

K depends only on n and ℓ, so its eigendecomposition is cached, and a fit is a few products of matrices and vectors. Rasmussen &
Williams 2006, "Gaussian Processes for Machine Learning", sections 4.2 and 5.4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import comb
from typing import NamedTuple

import numpy as np

from poptrain.algorithms.gp.threads import one_thread

PENALTIES = 11  # number of values of δ that are tried, with both ends
LENGTHS = tuple(2.0**power for power in range(9))  # ℓ: 1 to 256 points
NOISES = np.logspace(-6, 1, 15)  # ρ
MOST_POINTS = 128  # points that are fitted; a longer curve is thinned to this number and interpolated
MIN_POINTS = 4  # in a shorter curve, noise and signal cannot be distinguished


class TrainingCurve(NamedTuple):
    """A curve, measured and smoothed; only the search for the overlap uses the smoothed one."""

    raw: np.ndarray  # (n,)
    smoothed: np.ndarray  # (n,)

    @classmethod
    def of(cls, scores: Sequence[float]) -> TrainingCurve:
        """Returns the curve of at least one score; a score that is not finite counts as one standard deviation below the rest."""
        raw = mended(scores)
        return cls(raw, smooth(raw))  # 3.1.1, step 1

    def lowered(self, delta: float) -> TrainingCurve:
        """Returns the curve, lowered by `delta`. Smoothing commutes with a shift, so nothing is fitted again."""
        return TrainingCurve(self.raw - delta, self.smoothed - delta)


class Overlap(NamedTuple):
    """The overlap of two curves: it begins at point `a` of the first and `b` of the second, and has `length` more points."""

    a: int
    b: int
    length: int


def overlap(a: TrainingCurve, b: TrainingCurve) -> Overlap | None:
    """Returns the overlap of two curves; None if they do not overlap."""
    r = _reaches(a.smoothed, b.smoothed[0])  # 3.1.1, step 2; points are counted from 0 here, and from 1 in the paper
    s = _reaches(b.smoothed, a.smoothed[0])
    if r is None or s is None:
        return None
    length = min(len(a.raw) - 1 - r, len(b.raw) - 1 - s)  # 3.1.1, step 3
    return Overlap(r, s, length) if length >= 1 else None


def best_score_diff(a: TrainingCurve, b: TrainingCurve) -> float:
    """Returns by how much `a` improves faster than `b`: negative if `b` is faster, 0 if it cannot be decided."""
    both = overlap(a, b)
    if both is not None:
        return _gain(a, b, both)
    if a.raw.min() > b.raw.max():  # 3.1.1, Assumption 2: strictly higher
        return _penalised(a, b)
    if b.raw.min() > a.raw.max():
        return -_penalised(b, a)
    return 0.0


def curve_sign_test(a: TrainingCurve, b: TrainingCurve) -> float | None:
    """Returns p of "`a` is not above `b`", over the pairs after the start of their overlap; None if they do not overlap."""
    both = overlap(a, b)
    if both is None:
        return None
    mine = a.raw[both.a + 1 : both.a + both.length + 1]  # 3.2: y_{r+1} … y_{r+n}
    theirs = b.raw[both.b + 1 : both.b + both.length + 1]
    return binomial_p(int((mine > theirs).sum()), int((mine != theirs).sum()))


def binomial_p(k: int, n: int) -> float:
    """Returns P(Bin(n, ½) ≥ k), exactly; 1 for n = 0.

    >>> binomial_p(7, 7)
    0.0078125
    """
    term, total = comb(n, k), 0
    for count in range(k, n + 1):
        total += term
        term = term * (n - count) // (count + 1)
    p: float = total / 2**n  # exact whole numbers, and one division
    return p


def mended(scores: Sequence[float]) -> np.ndarray:
    """Returns the scores; each one that is not finite is one standard deviation below the lowest finite one; shape (n,)."""
    y = np.asarray(scores, float)
    fine = np.isfinite(y)
    if fine.all():
        return y
    rest = y[fine]
    return np.where(fine, y, rest.min() - rest.std() if len(rest) else 0.0)


def _reaches(curve: np.ndarray, level: float) -> int | None:
    """Returns the first point at or above `level`: 0 for the curve that starts higher."""
    at = int(np.argmax(curve >= level))
    return at if curve[at] >= level else None


def _gain(a: TrainingCurve, b: TrainingCurve, both: Overlap) -> float:
    """Returns the difference of the best scores within the overlap, with its start points."""
    mine = a.raw[both.a : both.a + both.length + 1]
    theirs = b.raw[both.b : both.b + both.length + 1]
    return float(mine.max() - theirs.max())  # 3.1.1, step 4


def _penalised(high: TrainingCurve, low: TrainingCurve) -> float:
    """Returns the largest gain of the strictly higher curve under a constant penalty if it is positive, else 0."""
    best, bottom = 0.0, float(high.raw.min())
    for delta in np.linspace(bottom - low.raw.max(), bottom - low.raw.min(), PENALTIES):  # 3.1.1, Assumption 2: penalised_δ
        penalised = high.lowered(delta)
        if (both := overlap(penalised, low)) is not None:
            best = max(best, _gain(penalised, low, both))
    return best


# -- smoothing -----------------------------------------------------------------------------------------------------------


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
    smoothed: np.ndarray = mean + sd * _posterior_mean((y - mean) / sd)  # (b)
    return smoothed


def _posterior_mean(z: np.ndarray) -> np.ndarray:
    """Returns ẑ under the most probable length and noise."""
    kernels = _kernels(len(z))
    rotated = z @ kernels.vectors  # (ℓ, n): Qᵀ z under each length
    s2 = np.einsum("ln,lrn->lr", rotated**2, kernels.inverse) / len(z)  # (c)
    likelihood = -0.5 * (len(z) * np.log(s2) + kernels.logdet)  # (d)
    length, noise = np.unravel_index(np.argmax(likelihood), likelihood.shape)
    shrunk = rotated[length] * kernels.values[length] * kernels.inverse[length, noise]  # λ / (λ + ρ)
    fitted: np.ndarray = kernels.vectors[length] @ shrunk  # (e)
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
    with one_thread():  # a second thread makes these small matrices slower
        values, vectors = np.linalg.eigh((1 + u + u**2 / 3) * np.exp(-u))  # (a)
    values = np.maximum(values, 0.0)
    shifted = values[:, None, :] + NOISES[:, None]
    return _Kernels(vectors, values, 1 / shifted, np.log(shifted).sum(-1))
