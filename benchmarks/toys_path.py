"""Toys whose result depends on the whole path of h: on `plain` a greedy schedule is right, on `deceptive` it is wrong.

One weight θ, Q = 1.2 - θ²: a small h is best at once. In `deceptive`, each departure of the lineage from a slow
linear decay slows down every later step, so that greedy schedules lose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

import poptrain as pt

DECAY = pt.Space(h=pt.Uniform(1e-4, 1.1, init=(0.9, 1.1)))
BUDGET, READY = 1000, 20


def plain(carry: Any, hp: dict[str, float], steps: int, seed: int) -> tuple[Any, dict[str, float]]:
    """θ ← θ - 0.002 (2 - h) θ, from 0.9."""
    theta = 0.9 if carry is None else carry
    for _ in range(steps):
        theta -= 0.002 * (2 - hp["h"]) * theta
    return theta, {"score": 1.2 - theta**2}


def deceptive(carry: Any, hp: dict[str, float], steps: int, seed: int) -> tuple[Any, dict[str, float]]:
    """As `plain`, slowed by the sum of all departures of the lineage's h from the line (1000 - 20 i) / 1000."""
    theta, path = (0.9, []) if carry is None else carry
    path = [*path, hp["h"]]
    penalty = 0.2 * sum(abs(h - (BUDGET - READY * i) / BUDGET) for i, h in enumerate(path))
    slope = max(2 - path[-1] - penalty, 0.0)
    for _ in range(steps):
        theta -= 0.002 * slope * theta
    return (theta, path), {"score": 1.2 - theta**2}


def decayed(algorithm: Any, toy: Any, seed: int) -> float:
    """Returns the final best Q of a run of 1000 steps per member."""
    return pt.run(algorithm, toy, stop=pt.steps(BUDGET), seed=seed).final_best.score


def methods() -> dict[str, Any]:
    """Returns the algorithms that are compared on the path-dependent toys: 8 members, the quarter of them replaced."""
    return {
        "random search": pt.random_search(DECAY, population=8, interval=READY),
        "PBT": pt.pbt(
            DECAY, population=8, interval=READY, exploit=pt.truncation(0.25), explore=pt.perturb((0.8, 1.2), resample=0)
        ),
    }


def better(a: Sequence[float], b: Sequence[float]) -> float:
    """Returns the p-value of "a is not greater than b", paired by seed (one-sided Wilcoxon signed-rank test)."""
    difference = np.asarray(a) - np.asarray(b)
    return 1.0 if not difference.any() else float(wilcoxon(difference, alternative="greater").pvalue)
