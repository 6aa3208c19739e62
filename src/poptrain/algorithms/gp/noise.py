"""A model that hears only noise is not followed: what is said then, and how far a clone goes from its parent.

A process that was fitted to noise keeps clones where they happen to be. So they take a step from their parent, as in `pbt`. While
every member is worse than members were at first, nothing near a parent is worth keeping either, and all numbers are drawn anew.
"""

from __future__ import annotations

import numpy as np

from poptrain.core import History


def reason(signal: float) -> str:
    """Returns why a model is not followed that takes this share of the variance of the gains for signal."""
    return f"the gains look like noise: {signal:.0%} of their variance is signal to the model"


def lost(history: History) -> bool:
    """True while every member is worse than the middle one was after its first training."""
    parents = history.column("parent")
    begins = np.where(parents >= 0, history.column("step")[parents], 0)  # an evaluation before the first training ends at 0
    first = history.scores[(history.column("steps") > 0) & (begins == 0)]
    standing = history.standing()
    now = history.scores_of(standing[standing >= 0])
    if np.isnan(first).all() or np.isnan(now).all():
        return False
    return bool(np.nanmax(now) < np.nanmedian(first))
