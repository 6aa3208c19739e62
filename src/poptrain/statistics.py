"""Statistics of few runs: what is reported of methods that were run with a handful of seeds each.

Interquartile means with bootstrap intervals, and the probability of improvement: Agarwal et al. 2021, "Deep Reinforcement
Learning at the Edge of the Statistical Precipice", arXiv:2108.13264. Larger is better throughout.

>>> iqm([0.0, 1.0, 2.0, 100.0])
1.5
>>> sign_test(5, 0)
0.0625
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb
from typing import Any

import numpy as np

from poptrain.core.rng import rng

Statistic = Callable[..., Any]


def iqm(values: Any, axis: int = -1) -> Any:
    """Returns the interquartile mean along an axis: the mean of the middle half, the outermost counted in part."""
    ordered = np.sort(np.asarray(values, float), axis=axis)
    n = ordered.shape[axis]
    weight = np.clip(np.minimum(np.arange(1, n + 1), n - np.arange(n)) - n / 4, 0, 1)
    if not weight.sum():  # one value
        weight = np.ones(n)
    found = np.moveaxis(ordered, axis, -1) @ (weight / weight.sum())
    return float(found) if found.ndim == 0 else found


def resampled(values: Sequence[float], strata: Sequence[Any] | None = None, draws: int = 2000) -> np.ndarray:
    """Returns bootstrap samples, drawn with replacement inside each stratum; shape (draws, n).

    Args:
        values: one score a run.
        strata: of each run the task (environment, data set) it was made on; None: all the same.
    """
    values = np.asarray(values, float)
    labels = np.zeros(len(values), int) if strata is None else np.unique(np.asarray(strata, str), return_inverse=True)[1]
    generator = rng(0, "bootstrap", len(values))
    parts = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    picks = [part[generator.integers(0, len(part), (draws, len(part)))] for part in parts]
    return values[np.concatenate(picks, axis=1)] if parts else np.empty((draws, 0))


def interval(
    values: Sequence[float], statistic: Statistic = iqm, draws: int = 2000, strata: Sequence[Any] | None = None
) -> tuple[float, float]:
    """Returns the 95 % percentile-bootstrap interval of ``statistic(samples, axis=-1)`` over runs."""
    return _ends(statistic(resampled(values, strata, draws), axis=-1))


def difference(
    a: Sequence[float], b: Sequence[float], statistic: Statistic = iqm, draws: int = 2000
) -> tuple[float, float, float]:
    """Returns ``statistic(a) - statistic(b)`` and its 95 % bootstrap interval, both sides resampled."""
    drawn = statistic(_drawn(a, "a", draws), axis=-1) - statistic(_drawn(b, "b", draws), axis=-1)
    return (float(statistic(a) - statistic(b)), *_ends(drawn))


def improvement(a: Sequence[float], b: Sequence[float], draws: int = 2000) -> tuple[float, float, float]:
    """Returns the probability that a run of `a` beats one of `b` (a tie counts half) and its 95 % bootstrap interval."""

    def wins(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (np.sign(x[..., :, None] - y[..., None, :]) / 2 + 0.5).mean(axis=(-2, -1))

    a, b = np.asarray(a, float), np.asarray(b, float)
    return (float(wins(a, b)), *_ends(wins(_drawn(a, "a", draws), _drawn(b, "b", draws))))


def share(whole: Sequence[float], part: Sequence[float], base: Sequence[float], draws: int = 2000) -> tuple[float, float, float]:
    """Returns how much of the gain of `whole` over `base` the runs of `part` reach, (part - base) / (whole - base), in
    interquartile means, with its 95 % bootstrap interval; NaN where there is no gain to explain."""

    def of(w: Any, p: Any, z: Any) -> np.ndarray:
        gain = np.asarray(iqm(w) - iqm(z), float)
        return np.where(gain > 0, (iqm(p) - iqm(z)) / np.where(gain > 0, gain, 1.0), np.nan)

    drawn = of(_drawn(whole, "a", draws), _drawn(part, "b", draws), _drawn(base, "c", draws))
    drawn = np.where(np.isnan(drawn), np.inf, drawn)  # a sample without gain bounds nothing
    return (float(of(whole, part, base)), *_ends(drawn))


def sign_test(wins: int, losses: int) -> float:
    """Returns the exact two-sided p-value of so many wins and losses in pairs, if both were equally likely; ties are left out."""
    n, k = wins + losses, min(wins, losses)
    return 1.0 if n == 0 else min(1.0, 2 * _tail(n, k))


def _tail(n: int, k: int) -> float:
    """Returns P(Binomial(n, 1/2) ≤ k); by the normal approximation beyond a thousand."""
    if n <= 1000:
        return sum(comb(n, i) for i in range(k + 1)) / 2**n
    from math import erfc, sqrt

    return erfc((n - 1 - 2 * k) / sqrt(2 * n)) / 2


def paired(a: Sequence[float], b: Sequence[float]) -> tuple[int, int, float]:
    """Returns wins of `a`, losses, and the two-sided p-value of the sign test over pairs (equal seeds at equal places)."""
    signs = np.sign(np.asarray(a, float) - np.asarray(b, float))
    wins, losses = int((signs > 0).sum()), int((signs < 0).sum())
    return wins, losses, sign_test(wins, losses)


def ahead(a: Sequence[float], b: Sequence[float]) -> float:
    """Returns the one-sided p-value of the Mann-Whitney test that `a` is greater than `b`; 1 with fewer than two on a side."""
    from scipy.stats import mannwhitneyu  # 0.5 s to import: paid by those who use the test

    return float(mannwhitneyu(a, b, alternative="greater").pvalue) if min(len(a), len(b)) > 1 else 1.0


def apart(a: Sequence[float], b: Sequence[float]) -> float:
    """Returns the two-sided p-value of the Mann-Whitney test that `a` and `b` differ; 1 with fewer than two on a side."""
    return min(2 * min(ahead(a, b), ahead(b, a)), 1.0)


def verdict(a: Sequence[float], b: Sequence[float]) -> str:
    """Returns "ahead", "behind" or "not told apart" for `a` against `b`.

    Two things must agree: the 95 % interval of the probability of improvement leaves out one half, and the two-sided
    Mann-Whitney test rejects equality at 5 %. The first alone is too bold with a few runs, the second says nothing of size.
    """
    _, low, high = improvement(a, b)
    if apart(a, b) > 0.05:
        return "not told apart"
    return "ahead" if low > 0.5 else "behind" if high < 0.5 else "not told apart"


def caution(runs: int) -> str:
    """Returns what so few runs a method allow to say, as a sentence."""
    if runs < 2:
        return "One run a method says nothing about methods: luck alone makes such differences. Give at least 5 seeds each."
    if runs < 6:
        least = sign_test(runs, 0)
        return (f"With {runs} runs a method, winning on every seed has p = {least:.3g} at best: an order may be suspected, not "
                "shown. Intervals of so few runs are too narrow.")  # fmt: skip
    if runs < 10:
        return f"With {runs} runs a method only large differences show; intervals of so few runs are rather too narrow."
    return (
        f"With {runs} runs a method, differences whose interval excludes zero are credible on this task, and on this task only."
    )


def _drawn(values: Sequence[float], side: str, draws: int) -> np.ndarray:
    values = np.asarray(values, float)
    return values[rng(0, "bootstrap", side, len(values)).integers(0, len(values), (draws, len(values)))]


def _ends(drawn: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")
    return float(low), float(high)
