"""Which of two training curves improves faster (Dalibard & Jaderberg 2021, arXiv:2109.13800, sections 3.1.1 and 3.2).

A curve is the scores of one piece of training, equally spaced, aligned with another by the offset from its own start and not
by absolute steps. Curves are compared on their *overlap*: from where the lower one first reaches the start of the higher one.

Departures from the paper: the overlap is as long as the *shorter* remainder (the printed formula has max, its prose and Figure 3
say min); `best_score_diff` is antisymmetric also where one curve is strictly higher (the paper defines one side of it); both
ends of the range of penalties are tried; tied pairs are no trials of the binomial test; an overlap of a single point is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import numpy as np

from poptrain.algorithms.fire.smoother import smooth

PENALTIES = 11  # values of δ that are tried, both ends included


class Curve(NamedTuple):
    """A curve as it was measured, and smoothed; only the search for the overlap looks at the smoothed one."""

    raw: np.ndarray  # (n,)
    smoothed: np.ndarray  # (n,)

    @classmethod
    def of(cls, scores: Sequence[float]) -> Curve:
        """Returns the curve of at least one score; what is not finite counts as one standard deviation below the rest."""
        raw = mended(scores)
        return cls(raw, smooth(raw))

    def lowered(self, delta: float) -> Curve:
        """Returns the curve `delta` lower: smoothing commutes with a shift, so nothing is fitted again."""
        return Curve(self.raw - delta, self.smoothed - delta)


class Overlap(NamedTuple):
    """Where two curves overlap: from point `a` of the first, and `b` of the second, for `length` points after these."""

    a: int
    b: int
    length: int


def overlap(a: Curve, b: Curve) -> Overlap | None:
    """Returns the overlapping section of two curves; None if there is none (section 3.1.1, steps 2 and 3)."""
    r = _reaches(a.smoothed, b.smoothed[0])
    s = _reaches(b.smoothed, a.smoothed[0])
    if r is None or s is None:
        return None
    length = min(len(a.raw) - 1 - r, len(b.raw) - 1 - s)
    return Overlap(r, s, length) if length >= 1 else None


def best_score_diff(a: Curve, b: Curve) -> float:
    """Returns by how much `a` improves faster than `b`: positive if it does, negative if `b` does, 0 if nothing can be said."""
    both = overlap(a, b)
    if both is not None:
        return _gain(a, b, both)
    if a.raw.min() > b.raw.max():
        return _penalised(a, b)
    if b.raw.min() > a.raw.max():
        return -_penalised(b, a)
    return 0.0


def sign_test(a: Curve, b: Curve) -> float | None:
    """Returns p of "`a` is not above `b`", pair by pair after the start of their overlap; None if they do not overlap."""
    both = overlap(a, b)
    if both is None:
        return None
    mine = a.raw[both.a + 1 : both.a + both.length + 1]
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
    return total / 2**n


def mended(scores: Sequence[float]) -> np.ndarray:
    """Returns the scores with everything that is not finite put one standard deviation below the lowest that is; shape (n,)."""
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


def _gain(a: Curve, b: Curve, both: Overlap) -> float:
    """Returns step 4: the difference of the best scores that were measured within the overlap, start points included."""
    mine = a.raw[both.a : both.a + both.length + 1]
    theirs = b.raw[both.b : both.b + both.length + 1]
    return float(mine.max() - theirs.max())


def _penalised(high: Curve, low: Curve) -> float:
    """Returns the largest gain of the strictly higher curve under a constant penalty if it is positive, else 0 (Assumption 2)."""
    best, bottom = 0.0, high.raw.min()
    for delta in np.linspace(bottom - low.raw.max(), bottom - low.raw.min(), PENALTIES):
        penalised = high.lowered(delta)
        if (both := overlap(penalised, low)) is not None:
            best = max(best, _gain(penalised, low, both))
    return best
