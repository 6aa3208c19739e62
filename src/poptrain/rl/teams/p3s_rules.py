"""The decisions of P3S: which learner is the best, how far policies are apart, and how strong the pull is (arXiv 2001.02907)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

REDUCTIONS = ("mean", "sum")  # of a squared distance of actions, over their dimensions
RECENT = 10  # returns by which the best learner is chosen, E_r
LARGEST_BETA = 1000.0  # beta doubles only below it and halves only above its inverse, as in the authors' code


def best_of(recent: Sequence[Collection[float]], sound: Sequence[bool] | np.ndarray | None = None) -> int:
    """Returns the learner with the highest mean return, -1 if none has finished an episode; a return that is not finite loses.

    Args:
        sound: False of a learner that is never the best, because its networks are not finite.
    """
    means = [float(np.mean(list(own))) if own else -np.inf for own in recent]
    means = [mean if fit else -np.inf for mean, fit in zip(means, [True] * len(means) if sound is None else sound, strict=True)]
    best = int(np.argmax([mean if np.isfinite(mean) else -np.inf for mean in means]))
    return best if np.isfinite(means[best]) else -1


def distance(actions: np.ndarray, others: np.ndarray, reduce: str = "mean") -> float:
    """Returns D: half the squared difference of two policies' actions, (B, A) each, averaged over transitions.

    Args:
        reduce: "mean" or "sum" over the dimensions of an action, a name in `REDUCTIONS`.
    """
    squares = (actions - others) ** 2
    return 0.5 * float(squares.mean() if reduce == "mean" else squares.sum(1).mean())


def adapted(beta: float, spread: float, change: float, rho: float, d_min: float, factor: float = 2.0) -> float:
    """Returns the strength of the pull for the next period.

    Args:
        spread, change: D from the learners to the best policy, and to themselves a period ago.
        factor: by which it rises or falls.
    """
    radius = max(rho * change, d_min)  # eq. (5)
    if spread > 1.5 * radius and beta < LARGEST_BETA:  # eq. (6)
        return beta * factor
    if spread < radius / 1.5 and beta > 1.0 / LARGEST_BETA:
        return beta / factor
    return beta
