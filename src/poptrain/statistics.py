"""Statistics of a few runs: how methods compare that were run with a handful of seeds each.

Interquartile means with bootstrap intervals, and the probability of improvement: Agarwal et al. 2021, "Deep Reinforcement
Learning at the Edge of the Statistical Precipice", arXiv:2108.13264. Larger scores are better everywhere.

>>> iqm([0.0, 1.0, 2.0, 100.0])
1.5
>>> sign_test(5, 0)
0.0625
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, erfc, sqrt
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import numpy as np

from poptrain.core.counting import counted
from poptrain.core.gathered import Floats
from poptrain.core.rng import rng

if TYPE_CHECKING:
    import numpy.typing as npt

Scores: TypeAlias = "npt.ArrayLike"  # one number a run
UNDECIDED = "not told apart"  # a verdict


class _Statistic(Protocol):
    """A function of samples, such as `iqm`, ``np.mean`` or ``np.median``."""

    def __call__(self, values: Floats, /, *, axis: int) -> Any:
        """Returns a number, or an array of the other axes."""
        ...


def iqm(values: npt.ArrayLike, axis: int = -1) -> Any:
    """Returns the interquartile mean along an axis: the mean of the middle half, whose outermost values count in part.

    It is a float for one axis, and an array of the other axes otherwise.
    """
    ordered = np.sort(np.asarray(values, float), axis=axis)
    n = ordered.shape[axis]
    weight = np.clip(np.minimum(np.arange(1, n + 1), n - np.arange(n)) - n / 4, 0, 1)
    if not weight.sum():  # one value
        weight = np.ones(n)
    found = np.moveaxis(ordered, axis, -1) @ (weight / weight.sum())
    return float(found) if found.ndim == 0 else found


def resampled(values: Scores, strata: Sequence[object] | None = None, draws: int = 2000) -> Floats:
    """Returns bootstrap samples, drawn with replacement inside each stratum; shape (draws, n).

    Args:
        values: one score for each run; shape (n,).
        strata: for each run its task (environment, data set); None: the same for all.
        draws: the number of samples.
    """
    values = np.asarray(values, float)
    labels = np.zeros(len(values), int) if strata is None else np.unique(np.asarray(strata, str), return_inverse=True)[1]
    generator = rng(0, "bootstrap", len(values))
    parts = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    picks = [part[generator.integers(0, len(part), (draws, len(part)))] for part in parts]
    return values[np.concatenate(picks, axis=1)] if parts else np.empty((draws, 0))


def interval(
    values: Scores, statistic: _Statistic = iqm, draws: int = 2000, strata: Sequence[object] | None = None
) -> tuple[float, float]:
    """Returns the 95 % percentile-bootstrap interval of ``statistic(samples, axis=-1)`` over runs."""
    return _ends(statistic(resampled(values, strata, draws), axis=-1))


def difference(a: Scores, b: Scores, statistic: _Statistic = iqm, draws: int = 2000) -> tuple[float, float, float]:
    """Returns ``statistic(a) - statistic(b)`` and its 95 % bootstrap interval, for which both sides are resampled."""

    def of(x: Floats, y: Floats) -> Any:
        return statistic(x, axis=-1) - statistic(y, axis=-1)

    drawn = of(_drawn(a, "a", draws), _drawn(b, "b", draws))
    return (float(of(np.asarray(a, float), np.asarray(b, float))), *_ends(drawn))


def improvement(a: Scores, b: Scores, draws: int = 2000) -> tuple[float, float, float]:
    """Returns the probability that a run of `a` beats one of `b` (a tie counts half) and its 95 % bootstrap interval."""

    def wins(x: Floats, y: Floats) -> Floats:
        return cast(Floats, (np.sign(x[..., :, None] - y[..., None, :]) / 2 + 0.5).mean(axis=(-2, -1)))

    drawn = wins(_drawn(a, "a", draws), _drawn(b, "b", draws))
    return (float(wins(np.asarray(a, float), np.asarray(b, float))), *_ends(drawn))


def share(whole: Scores, part: Scores, base: Scores, draws: int = 2000) -> tuple[float, float, float]:
    """Returns the share of the gain of `whole` over `base` that `part` reaches, and its 95 % bootstrap interval.

    It is (part - base) / (whole - base) in interquartile means, and NaN if there is no gain.
    """

    def of(w: npt.ArrayLike, p: npt.ArrayLike, z: npt.ArrayLike) -> Floats:
        gain = np.asarray(iqm(w) - iqm(z), float)
        return np.where(gain > 0, (iqm(p) - iqm(z)) / np.where(gain > 0, gain, 1.0), np.nan)

    drawn = of(_drawn(whole, "a", draws), _drawn(part, "b", draws), _drawn(base, "c", draws))
    drawn = np.where(np.isnan(drawn), np.inf, drawn)  # a sample without a gain cannot be an upper bound
    return (float(of(whole, part, base)), *_ends(drawn))


def sign_test(wins: int, losses: int) -> float:
    """Returns the exact two-sided p-value of these numbers of wins and losses in pairs, without ties.

    It is the probability of a result at least as uneven if both were equally likely.
    """
    n, k = wins + losses, min(wins, losses)
    return 1.0 if n == 0 else min(1.0, 2 * _tail(n, k))


def more_wins(wins: int, losses: int, level: float = 0.05) -> int:
    """Returns how many pairs more would have to be won, all of them, for a p-value of the sign test below a level.

    >>> more_wins(3, 0), more_wins(6, 0)
    (3, 0)
    """
    more = 0
    while wins + more <= losses or sign_test(wins + more, losses) >= level:
        more += 1
    return more


def _tail(n: int, k: int) -> float:
    """Returns P(Binomial(n, 1/2) ≤ k), from n = 1001 on by the normal approximation."""
    if n <= 1000:
        return float(sum(comb(n, i) for i in range(k + 1)) / 2**n)
    return erfc((n - 1 - 2 * k) / sqrt(2 * n)) / 2


def paired(a: Scores, b: Scores) -> tuple[int, int, float]:
    """Returns wins of `a`, losses, and the two-sided p-value of the sign test over pairs (equal seeds at equal positions)."""
    signs = np.sign(np.asarray(a, float) - np.asarray(b, float))
    wins, losses = int((signs > 0).sum()), int((signs < 0).sum())
    return wins, losses, sign_test(wins, losses)


def ahead(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> float:
    """Returns the one-sided p-value of the Mann-Whitney test that `a` is greater than `b`; 1 with one run on a side.

    It is exact if a side has at most 8 runs and no two scores are equal, and else the normal approximation with corrections for
    ties and continuity: the choice and the numbers of `scipy.stats.mannwhitneyu`, whose import takes a second.
    """
    few, many = sorted((len(a), len(b)))
    if few < 2:
        return 1.0
    x, y = np.asarray(a, float)[:, None], np.asarray(b, float)[None]
    above = float((x > y).sum() + 0.5 * (x == y).sum())  # U of `a`
    tied = np.unique(np.concatenate([x.ravel(), y.ravel()]), return_counts=True)[1]
    if few <= 8 and tied.max() == 1:
        ways = _orders(few, many)
        return sum(ways[round(above) :]) / sum(ways)
    n = few + many
    spread = sqrt(few * many / 12 * (n + 1 - float((tied**3 - tied).sum()) / (n * (n - 1))))
    return erfc((above - few * many / 2 - 0.5) / (spread * sqrt(2))) / 2 if spread else 1.0


def _orders(few: int, many: int) -> list[int]:
    """Returns how many orders of two samples have each U from 0 to few · many: the coefficients of a Gaussian binomial."""
    ways = [1] + [0] * (few * many)
    for i in range(1, few + 1):
        for u in range(few * many, many + i - 1, -1):  # · (1 - q^(many + i))
            ways[u] -= ways[u - many - i]
        for u in range(i, few * many + 1):  # / (1 - q^i)
            ways[u] += ways[u - i]
    return ways


def apart(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> float:
    """Returns the two-sided p-value of the Mann-Whitney test that `a` and `b` differ; 1 with one run on a side."""
    return min(2 * min(ahead(a, b), ahead(b, a)), 1.0)


def verdict(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> str:
    """Returns `"ahead"`, `"behind"` or `"not told apart"` for `a` against `b`.

    Two criteria must agree: the 95 % interval of the probability of improvement excludes one half, and the two-sided
    Mann-Whitney test rejects equality at 5 %. The first alone is too bold with a few runs; the second ignores the size.
    """
    _, low, high = improvement(a, b)
    if apart(a, b) > 0.05:
        return UNDECIDED
    return "ahead" if low > 0.5 else "behind" if high < 0.5 else UNDECIDED


def caution(runs: int) -> str:
    """Returns a sentence about what the evidence supports, with this number of runs for each method."""
    if runs < 2:
        return "One run per method says nothing about methods: chance alone makes such differences. Use at least 5 seeds each."
    if runs < 6:
        return (
            f"With {counted(runs, 'run')} per method, winning on every seed has p = {sign_test(runs, 0):.3g} at "
            "best: this suggests an "
            "order, but does not prove it. Intervals of few runs are too narrow."
        )
    if runs < 10:
        return (
            f"With {counted(runs, 'run')} per method only large differences are visible; intervals of few runs are "
            "rather too narrow."
        )
    return (
        f"With {counted(runs, 'run')} per method, differences whose interval excludes zero are credible on this task, "
        "and on this task only."
    )


def _drawn(values: Scores, side: str, draws: int) -> Floats:
    values = np.asarray(values, float)
    return values[rng(0, "bootstrap", side, len(values)).integers(0, len(values), (draws, len(values)))]


def _ends(drawn: Floats) -> tuple[float, float]:
    low, high = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")
    return float(low), float(high)
