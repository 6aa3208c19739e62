"""What protects PB2 and BG-PBT from scores that would mislead their model: the options `least_signal` and `robust`.

`least_signal`: a process that was fitted to noise keeps clones where they happen to be. So a model that hears only noise is not
followed, and clones take a step from their parent, as in `pbt`.

While that is so and every member is worse than members were at first, values are drawn anew (`anew`: `parts.lost`).

`robust`: next to a score that exploded, the gains of all others would look equal. It counts as the worst of the others.
"""

from __future__ import annotations

import numpy as np

MUCH = 1e4  # times the distance from the middle score to the best tenth: what lies below by more is lost


def reason(signal: float) -> str:
    """Returns why a model is not followed that takes this share of the variance of the gains for signal."""
    return f"the gains look like noise: {signal:.0%} of their variance is signal to the model"


def without_lost(scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Returns the scores, in which those that are lost among the tasks `ids` count as the worst of the others.

    A score is lost if it lies below the middle one by `MUCH` times the distance from there to the best tenth: training that
    exploded, and not training that is bad.
    """
    known = scores[ids]
    if not len(known):
        return scores
    with np.errstate(over="ignore"):
        middle, high = np.percentile(known, [50, 90])
        limit = middle - MUCH * (high - middle)
    if not high - middle > 1e-12 * max(abs(middle), abs(high)):
        return scores
    least: np.ndarray = np.maximum(scores, known[known >= limit].min())
    return least
