"""The decisions of P3S: which learner is the best, how far policies are apart, and how strong the pull is (arXiv 2001.02907)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

RECENT = 10  # returns by which the best learner is chosen, E_r
LARGEST_BETA = 1000.0  # beta doubles only below it and halves only above its inverse, as in the authors' code


def best_of(recent: Sequence[Collection[float]]) -> int:
    """Returns the learner with the highest mean return, -1 if none has finished an episode; a return that is not finite loses."""
    means = [float(np.mean(list(own))) if own else -np.inf for own in recent]
    best = int(np.argmax([mean if np.isfinite(mean) else -np.inf for mean in means]))
    return best if np.isfinite(means[best]) else -1


def distance(actions: np.ndarray, others: np.ndarray) -> float:
    """Returns D: half the mean squared difference of two policies' actions, (B, A) each."""
    return 0.5 * float(((actions - others) ** 2).mean())


def adapted(beta: float, spread: float, change: float, rho: float, d_min: float) -> float:
    """Returns the strength of the pull for the next period.

    Args:
        spread, change: D from the learners to the best policy, and to themselves a period ago.
    """
    radius = max(rho * change, d_min)  # eq. (5)
    if spread > 1.5 * radius and beta < LARGEST_BETA:  # eq. (6)
        return beta * 2.0
    if spread < radius / 1.5 and beta > 1.0 / LARGEST_BETA:
        return beta / 2.0
    return beta
