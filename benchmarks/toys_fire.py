"""FIRE PBT and PBT on the path-dependent toy, where a slow linear decay is best and greedy steps slow down all later ones.

    python -m benchmarks.toys_fire [--quick] --json

θ ← θ - 0.002 max(2 - h - penalty, 0) θ from 0.9, Q = 1.2 - θ²; the penalty is 0.2 times the sum, over all blocks of 20 steps
that led here, of how far their h was from the line 1 - step / 1000. Small h is best at once. The task is that of Chebykin et al.
2025 (TMLR), as `deceptive` in `benchmarks.toys`, but blocks are counted by steps: evaluating more often changes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import poptrain as pt
from benchmarks.common import figure, main, over

BUDGET, READY = 1000, 20
DECAY = pt.Space(h=pt.Uniform(1e-4, 1.1, init=(0.9, 1.1)))


def train(carry: Any, hp: dict[str, float], steps: int, seed: int) -> tuple[Any, dict[str, float]]:
    """Carry: θ, the sum of departures so far, and the steps trained."""
    theta, departed, step = (0.9, 0.0, 0) if carry is None else carry
    for now in range(step, step + steps):
        if now % READY == 0:
            departed += abs(hp["h"] - (BUDGET - now) / BUDGET)
        theta -= 0.002 * max(2 - hp["h"] - 0.2 * departed, 0.0) * theta
    return (theta, departed, step + steps), {"score": 1.2 - theta**2}


def alone(schedule: Any) -> float:
    """Returns the final Q of one model under ``schedule(step) -> h``."""
    carry, metrics = None, {}
    for step in range(0, BUDGET, READY):
        carry, metrics = train(carry, {"h": schedule(step)}, READY, 0)
    return metrics["score"]


def methods() -> dict[str, Any]:
    """Returns the algorithms by name; the number is that of the workers."""
    settings: dict[str, Any] = dict(
        interval=READY, exploit=pt.truncation(0.25), explore=pt.perturb((0.5, 0.8, 1.25, 2.0), resample=0)
    )
    fire: dict[str, Any] = dict(max_eval=60, warmup=20, evals=10, as_in="paper")  # an evaluation every 2 steps
    return {
        "PBT22": pt.pbt(DECAY, population=22, starts="random", **settings),
        "FIRE22": pt.fire_pbt(DECAY, (8, 8), **fire, **settings),
        "FIRE36": pt.fire_pbt(DECAY, (8, 8, 8), **fire, **settings),
        "FIRE22, default rules": pt.fire_pbt(DECAY, (8, 8), **fire | {"as_in": None}, **settings),
    }


def best(algorithm: Any, seed: int) -> float:
    """Returns the best Q of a run of 1000 steps per member."""
    return pt.run(algorithm, train, stop=pt.steps(BUDGET), seed=seed).best.score


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures."""
    ramp, least = alone(lambda step: (BUDGET - step) / BUDGET), alone(lambda step: 1e-4)
    figures = [
        figure("path-dependent: linear ramp", ramp, "Q", "1.198 ± 0.001", abs(ramp - 1.198) < 1e-3),
        figure("path-dependent: constant h = 1e-4", least, "Q", "0.827 ± 0.001", abs(least - 0.827) < 1e-3),
    ]
    targets = {"PBT22": ("<= 1.0", lambda q: q <= 1.0), "FIRE22": (">= 1.17", lambda q: q >= 1.17)}
    for name, algorithm in methods().items():
        found = [best(algorithm, seed) for seed in range(5 if quick else 20)]
        target, holds = targets.get(name, ("", None))
        figures.append(over(f"path-dependent: {name}", found, "Q", target, holds and holds(float(np.mean(found)))))
    return figures


if __name__ == "__main__":
    main("toys_fire", measure, __doc__.splitlines()[0])
