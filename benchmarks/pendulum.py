"""100 PPO agents on pure-JAX Pendulum in one compiled program, against one agent in the same program.

    python -m benchmarks.pendulum [--quick] --json

On CPUs every core runs the program for its share of the members. Compilation is excluded by a first call of every program;
the runs of one and of many alternate, because clocks drift.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.common import figure, main, over
from poptrain.rl import PPO

AGENT = PPO(env="jax/Pendulum-v1", hidden=(64, 64))
MEMBERS = 100


def seconds(members: int, steps: int, seed: int) -> tuple[float, np.ndarray]:
    """Returns the seconds that training takes, and the scores; `steps` is per member."""
    seeds = np.arange(members) + 1000 * seed
    carry = AGENT.init({}, seeds)
    began = time.perf_counter()
    _, metrics = AGENT.train(carry, {}, steps, seeds)
    return time.perf_counter() - began, metrics["score"]


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures; quick: a tenth of the steps."""
    steps, rounds = (20_000, 2) if quick else (200_000, 3)
    for members in (1, MEMBERS):
        seconds(members, AGENT.train_batch_size, 0)
    single, many, scores = [], [], np.empty(0)
    for round in range(rounds):
        before = np.mean([seconds(1, steps, 10 * round + i)[0] for i in range(3)])
        took, scores = seconds(MEMBERS, steps, round)
        after = np.mean([seconds(1, steps, 10 * round + 5 + i)[0] for i in range(3)])
        single.append((before + after) / 2)
        many.append(took / MEMBERS)
    ratios = np.asarray(many) / np.asarray(single)
    ratio = float(np.median(ratios))
    return [
        over(f"1 member, {steps:,} steps", [steps / s for s in single], "steps/s"),
        over(f"{MEMBERS} members, {steps:,} steps each, one program", [steps / s for s in many], "steps/s"),
        figure("time per member, 100 members / 1 member", ratio, "", "<= 1", ratio <= 1.0, rounds, float(ratios.std(ddof=1))),
        over(f"mean return of all training episodes, {MEMBERS} members", scores.tolist(), "return"),
    ]


if __name__ == "__main__":
    main("pendulum", measure, __doc__)
