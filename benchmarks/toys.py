"""The toy problems with known answers: the PBT paper's quadratic, and a plain and a deceptive path-dependent toy.

    python -m benchmarks.toys [--quick] --json

* `quadratic`: Jaderberg et al. 2017, figure 2. Q(θ) = 1.2 - θ₀² - θ₁²; the trainer sees only 1.2 - h₀θ₀² - h₁θ₁². Two workers
  that may each look along one axis get to 0.39 alone, and near 1.2 by copying weights and exploring.
* `plain`, `deceptive`: one weight θ, Q = 1.2 - θ²; small h is best at once (plain), or punished later for every departure
  from a slow linear decay (deceptive), so that greed loses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

import poptrain as pt
from benchmarks import toys_fire
from benchmarks.common import figure, main, over

# -- the quadratic ----------------------------------------------------------------------------------------------------

AXES = [{"h0": 1.0, "h1": 0.0}, {"h0": 0.0, "h1": 1.0}]
SQUARE = pt.Space(h0=pt.Uniform(0.0, 1.0), h1=pt.Uniform(0.0, 1.0))
LR, STEPS = 0.01, 200


def quadratic(carry: Any, hp: dict[str, float], steps: int, seed: int) -> tuple[Any, dict[str, float]]:
    """Gradient ascent on the surrogate, from θ = (0.9, 0.9)."""
    theta = (0.9, 0.9) if carry is None else carry
    for _ in range(steps):
        theta = (theta[0] - 2 * LR * hp["h0"] * theta[0], theta[1] - 2 * LR * hp["h1"] * theta[1])
    return theta, {"score": 1.2 - theta[0] ** 2 - theta[1] ** 2}


def quadratic_pbt(seed: int, ready: int = 4, **options: Any) -> float:
    """Returns the final Q of the better of two asynchronous workers."""
    settings: dict[str, Any] = dict(exploit=pt.tournament(ties=True), explore=pt.additive(0.1), copy="weights")
    algorithm = pt.pbt(SQUARE, population=2, interval=ready, sync=False, initial=AXES, **{**settings, **options})
    return pt.run(algorithm, quadratic, stop=pt.steps(STEPS), seed=seed).final_best.score


def quadratic_grid() -> float:
    """Returns the final Q of the two fixed configurations, by the library."""
    algorithm = pt.random_search(SQUARE, population=2, interval=4, initial=AXES)
    return pt.run(algorithm, quadratic, stop=pt.steps(STEPS)).final_best.score


# -- the path-dependent toys ------------------------------------------------------------------------------------------

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


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures."""
    seeds = range(20 if quick else 100)
    figures = []
    scores = [quadratic_pbt(seed) for seed in seeds]
    figures.append(
        over("quadratic: PBT, asynchronous, ready 4, additive, weights", scores, "Q", ">= 1.16", np.mean(scores) >= 1.16)
    )
    grid, exact = quadratic_grid(), 0.39 - (0.9 * (1 - 2 * LR) ** STEPS) ** 2
    figures.append(figure("quadratic: grid search", grid, "Q", f"{exact:.6f} exactly", abs(grid - exact) < 1e-12))
    for name, options in {
        "PBT, ready 10": dict(ready=10),
        "copy both": dict(copy="both"),
        "multiply, copy both": dict(copy="both", explore=pt.perturb(resample=0)),
        "exploit only": dict(explore=None),
    }.items():
        figures.append(over(f"quadratic: {name}", [quadratic_pbt(seed, **options) for seed in seeds], "Q"))
    few = range(10 if quick else 20)
    for label, toy in (("plain", plain), ("deceptive", deceptive)):
        found = {name: [decayed(algorithm, toy, seed) for seed in few] for name, algorithm in methods().items()}
        figures += [over(f"{label}: {name}", values, "Q") for name, values in found.items()]
        p = better(found["PBT"], found["random search"])
        if label == "plain":
            figures.append(figure("plain: PBT > random search, paired by seed", p, "p", "< 0.01", p < 0.01, len(few)))
    figures += toys_fire.measure(quick)
    return figures


if __name__ == "__main__":
    main("toys", measure, __doc__.splitlines()[0])
