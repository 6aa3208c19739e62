"""The toy problems with known answers: the PBT paper's quadratic, then those of PB2 (`toys_pb2`) and of FIRE PBT (`toys_fire`).

    python -m benchmarks.toys [--quick] --json

* `quadratic`: Jaderberg et al. 2017, figure 2. Q(θ) = 1.2 - θ₀² - θ₁²; the trainer sees only 1.2 - h₀θ₀² - h₁θ₁². Two workers
  that may each look along one axis get to 0.39 alone, and near 1.2 by copying weights and exploring.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import poptrain as pt
from benchmarks import toys_fire, toys_pb2
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
    figures += toys_pb2.measure(quick)
    figures += toys_fire.measure(quick)
    return figures


if __name__ == "__main__":
    main("toys", measure, __doc__.splitlines()[0])
