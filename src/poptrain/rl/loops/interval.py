"""What happened to the members of a population in one interval of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class IntervalOutcome(NamedTuple):
    """One entry per member in every field; P members."""

    returns: list[list[float]]  # of the training episodes that ended, the latest ones
    score: np.ndarray  # (P,) mean of the returns; NaN if no episode ended
    running: np.ndarray  # (P,) mean return so far of the episodes that run
    episode_length: np.ndarray  # (P,) mean length of the episodes that ended, in steps; NaN if none did
    steps: np.ndarray  # (P,) environment steps that were trained
    updates: np.ndarray  # (P,)
    diagnostics: dict[str, np.ndarray]  # of the last update, (P,) each; NaN or the old value without an update
    by_env: np.ndarray | None = None  # (P, 2, E) sum of the returns of each environment, and its episodes; None: not known


def mean(values: Sequence[float]) -> float:
    """Returns the mean, NaN of nothing."""
    return float(np.mean(values)) if values else float("nan")
