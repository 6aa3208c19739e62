"""What the ablations train: two toys whose answers are known beforehand, and PPO on Pendulum.

* `drift`: three hyperparameters have an optimum that moves as a member learns; the nearer they are to it, the faster it learns.
  What helps now also helps later, so following the optimum is right.
* `greedy`: the noisy quadratic of `benchmarks.fire_nqm`, where a lower learning rate pays at once and costs later.
* `pendulum`: PPO on pure-JAX Pendulum-v1, all members in one program; five hyperparameters with wide ranges.

The score of a toy is the mean of ten noisy evaluations, as that of an agent is a mean over episodes. The *reported* score is
another one: the quality of the member with the best score at the end, without noise on the toys, and over 100 episodes of its
deterministic policy on Pendulum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import poptrain as pt
from benchmarks import fire_nqm
from poptrain.core.rng import rng

NOISE, EVALUATIONS = 0.05, 10


@dataclass(frozen=True)
class Problem:
    """A task of the ablations: ``steps`` per member in rounds of ``interval``."""

    name: str
    space: pt.Space
    trainable: Any
    steps: int
    interval: int
    seeds: int
    quality: Callable[[Any, int], float]  # (carry, seed) -> the reported score
    unit: str
    vectorized: bool = False

    def executor(self, lanes: int | None = None) -> Any:
        """Returns the executor, with `lanes` slots; None: one slot for every member."""
        return pt.executors.Vectorized(lanes=lanes) if self.vectorized else "inline"


def evaluated(value: float, seed: int) -> dict[str, Any]:
    """Returns the metrics of a member that is worth `value`: noisy evaluations, and their mean as the score."""
    returns = value + NOISE * rng(seed, "evaluations").normal(size=EVALUATIONS)
    return {"score": float(returns.mean()), "returns": returns.tolist()}


# -- drift ------------------------------------------------------------------------------------------------------------

DRIFT = pt.Space(a=pt.LogUniform(1e-5, 1e0), b=pt.Uniform(0.0, 1.0), c=pt.Uniform(0.0, 1.0))
RATE = 0.004


def drift(carry: Any, hp: dict[str, float], steps: int, seed: int) -> tuple[Any, dict[str, Any]]:
    """θ ← θ + 0.004 (1 - θ) max(1 - 8 d², -1/2), from 0 and never below. d is the distance of (log10 a + 5) / 5, b and c from
    their optimum at θ: a falls from 0.1 to 0.001, c rises from 0.2 to 0.8, b stays at 0.6. Carry: θ."""
    theta = 0.0 if carry is None else carry
    a, b, c = (np.log10(hp["a"]) + 5) / 5 - 0.8, hp["b"] - 0.6, hp["c"] - 0.2
    fixed = 1 - 8 * float(b * b)
    for _ in range(steps):
        speed = fixed - 8 * ((a + 0.4 * theta) ** 2 + (c - 0.6 * theta) ** 2)
        theta = max(theta + RATE * (1 - theta) * max(speed, -0.5), 0.0)
    return float(theta), evaluated(float(theta), seed)


# -- greedy -----------------------------------------------------------------------------------------------------------


def greedy(carry: Any, hp: dict[str, float], steps: int, seed: int) -> tuple[Any, dict[str, Any]]:
    """SGD on the noisy quadratic, from m = 1. Carry: the 16 second moments."""
    m = fire_nqm.advanced(np.ones(16) if carry is None else carry, hp["lr"], steps)
    return m, evaluated(float(fire_nqm.quality(m)), seed)


# -- pendulum ---------------------------------------------------------------------------------------------------------

PENDULUM = pt.Space(
    lr=pt.LogUniform(1e-5, 3e-2),
    discount=pt.Complement(0.5, 0.999),
    gae_lambda=pt.Uniform(0.5, 1.0),
    clip=pt.LogUniform(0.02, 0.8),
    entropy_coeff=pt.LogUniform(1e-4, 1.0),
)
EPISODES = 100


def agent() -> Any:
    """Returns the agent; its program trains 240,000 steps a second on one core."""
    from poptrain.rl import PPO

    return PPO(env="jax/Pendulum-v1", hidden=(32, 32), num_envs=8, epochs=5, minibatch_size=64, train_batch_size=1000, chunk=64)


def problems(quick: bool = False) -> dict[str, Problem]:
    """Returns the problems; quick: two rounds of Pendulum in the place of twenty, two seeds everywhere."""
    seeds, rounds = (2, 2) if quick else (10, 20)
    interval = 1000 if quick else 2000
    policy = agent()

    def judged(carry: Any, seed: int) -> float:
        return float(policy.evaluate(carry, episodes=4 if quick else EPISODES, seed=seed).mean())

    return {
        "drift": Problem("drift", DRIFT, drift, 1000, 50, seeds, lambda carry, seed: carry, "progress"),
        "greedy": Problem("greedy", fire_nqm.SPACE, greedy, fire_nqm.BUDGET, 300, seeds,
                          lambda carry, seed: float(fire_nqm.quality(carry)), "Q"),
        "pendulum": Problem("pendulum", PENDULUM, policy, rounds * interval, interval, seeds, judged, "return", True),
    }  # fmt: skip
