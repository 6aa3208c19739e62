"""How fast four PPO agents train on BipedalWalker-v3: next to the simulator alone, and next to PyTorch in two processes.

    python -m benchmarks.ppo_speed [--quick] --json    # 10 minutes; nothing else should run

The simulator alone is EnvPool at its best setting for two cores: 64 environments, synchronous, 2 threads, with random actions.
Ours is `pt.run` with a durable directory, compilation included. PyTorch is `benchmarks.ppo_torch`, twice at the same time, an
agent each, imports not included. The three run in turns, and ratios are those of one round.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import envpool
import numpy as np

from benchmarks.bipedal import trained
from benchmarks.common import figure, installed, main, over
from examples.bipedal_walker import agent

PROCESSES, ROUNDS = 2, 3


def simulator(steps: int, seed: int, envs: int = 64, threads: int = 2) -> float:
    """Returns steps per second of EnvPool alone."""
    made = {"num_envs": envs, "num_threads": threads, "seed": seed, "max_episode_steps": agent.horizon}
    pool = envpool.make_gymnasium(agent.env, **made)
    actions = np.random.default_rng(seed).uniform(-1, 1, (64, envs, 4)).astype(np.float32)
    pool.reset()
    began = time.perf_counter()
    for tick in range(steps // envs):
        pool.step(actions[tick % 64])
    rate = steps / (time.perf_counter() - began)
    pool.close()
    return rate


def torch(steps: int, seed: int) -> float:
    """Returns steps per second of all agents in PyTorch together."""
    words = [sys.executable, "-m", "benchmarks.ppo_torch", str(steps // PROCESSES)]
    started = [subprocess.Popen([*words, str(seed + i)], stdout=subprocess.PIPE, text=True) for i in range(PROCESSES)]
    return sum(float(each.communicate()[0]) for each in started)


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures of all rounds."""
    steps, rounds = (100_000, 1) if quick else (400_000, ROUNDS)
    peer = installed("torch")
    alone, ours, theirs = [], [], []
    for seed in range(rounds):
        before = simulator(steps, seed)
        took, done, _ = trained(steps, 50_000, seed)
        ours.append(done / took)
        alone.append((before + simulator(steps, seed + 1000)) / 2)
        if peer:
            theirs.append(torch(steps, seed))
        print(f"round {seed}: alone {alone[-1]:.0f}, ours {ours[-1]:.0f}, PyTorch {theirs[-1:]}", flush=True)
    ratios = [one / other for one, other in zip(ours, alone, strict=True)]
    made = [
        over("the simulator alone, 64 environments, synchronous, 2 threads", alone, "steps/s"),
        over("four agents", ours, "steps/s"),
        over("four agents / the simulator alone", ratios, "", ">= 0.9", float(np.mean(ratios)) >= 0.9),
    ]
    if not peer:
        return [*made, figure("PyTorch is not installed", float("nan"))]
    faster = [one / other for one, other in zip(ours, theirs, strict=True)]
    return [
        *made,
        over(f"PyTorch, {PROCESSES} processes", theirs, "steps/s"),
        over("four agents / PyTorch", faster, "", ">= 1.8", float(np.mean(faster)) >= 1.8),
    ]


if __name__ == "__main__":
    main("ppo_speed", measure, __doc__)
