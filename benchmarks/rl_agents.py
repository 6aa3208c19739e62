"""Reinforcement learning agents: what they reach at equal environment frames.

    python -m benchmarks.rl_agents [--quick] [--only CELL …] [--seeds N] [--json]

Every finished run is stored in ``benchmarks/results/rl_agents.json`` and is not repeated; figures come from that file alone.
Frames count all environment steps of training, but not those of the evaluation: 100 episodes without noise, on seeds that were
never trained on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import command_line, over, report, show, stored_runs
from poptrain.rl import CEMRL, DDPG, ERL, P3S, PPO, SAC, SVPG, TD3, VMPO

RESULTS = Path(__file__).parent / "results" / "rl_agents.json"


@dataclass(frozen=True)
class Cell:
    """One agent on one task."""

    agent: Any
    frames: int
    interval: int
    target: str = ""
    holds: Callable[[list[float]], bool] | None = None
    seeds: int = 5


PENDULUM = {"env": "Pendulum-v1", "learning_starts": 1000}
CELLS = {
    "ppo CartPole-v1 200k": Cell(PPO(env="CartPole-v1"), 200_000, 50_000),
    "svpg CartPole-v1 200k": Cell(SVPG(env="CartPole-v1"), 200_000, 50_000),
    "td3 Pendulum-v1 10k": Cell(TD3(**PENDULUM), 10_000, 2_000, "mean >= -170", lambda found: np.mean(found) >= -170),
    "ddpg Pendulum-v1 10k": Cell(DDPG(**PENDULUM), 10_000, 2_000, "mean >= -170", lambda found: np.mean(found) >= -170),
    "sac Pendulum-v1 10k": Cell(
        SAC(**PENDULUM, batch_size=100), 10_000, 2_000, "mean >= -170", lambda found: np.mean(found) >= -170
    ),
    "vmpo CartPole-v1 200k": Cell(
        VMPO(env="CartPole-v1"), 200_000, 50_000, "median >= 475", lambda found: np.median(found) >= 475
    ),
    "vmpo Pendulum-v1 300k": Cell(VMPO(env="Pendulum-v1"), 300_000, 50_000, "each >= -200", lambda found: min(found) >= -200),
    "p3s HalfCheetah-v5 80k": Cell(P3S(env="HalfCheetah-v5", learning_starts=2500), 80_000, 8_000, seeds=3),
    "p3s as in code HalfCheetah-v5 80k": Cell(
        P3S(env="HalfCheetah-v5", learning_starts=2500, updates_per_step=4), 80_000, 8_000, seeds=3
    ),
    "cem Swimmer-v5 300k": Cell(
        CEMRL(env="Swimmer-v5", gradients=0), 300_000, 50_000, "median >= 280", lambda found: np.median(found) >= 280
    ),
    "cem Swimmer-v5 1M": Cell(
        CEMRL(env="Swimmer-v5", gradients=0), 1_000_000, 100_000, "median >= 340", lambda found: np.median(found) >= 340
    ),
    "erl Swimmer-v5 300k": Cell(ERL(env="Swimmer-v5"), 300_000, 50_000),
    "cem-rl Swimmer-v5 300k": Cell(CEMRL(env="Swimmer-v5"), 300_000, 50_000),
    "td3 Swimmer-v5 300k": Cell(TD3(env="Swimmer-v5"), 300_000, 50_000),
    "td3 far-sighted Swimmer-v5 300k": Cell(TD3(env="Swimmer-v5", discount=0.9999), 300_000, 50_000),
    "p3s delayed HalfCheetah-v5 80k": Cell(
        P3S(env="delayed/HalfCheetah-v5", learning_starts=2500, d_min=0.02), 80_000, 8_000, seeds=3
    ),
    "p3s delayed as in code HalfCheetah-v5 80k": Cell(
        P3S(env="delayed/HalfCheetah-v5", learning_starts=2500, d_min=0.02, updates_per_step=4), 80_000, 8_000, seeds=3
    ),
    "sac HalfCheetah-v5 100k": Cell(SAC(env="HalfCheetah-v5"), 100_000, 10_000),
    "td3 HalfCheetah-v5 100k": Cell(
        TD3(env="HalfCheetah-v5"),
        100_000,
        10_000,
        "mean >= 4930, none < 3500",
        lambda found: np.mean(found) >= 4930 and min(found) >= 3500,
    ),
} | {
    f"td3 {env} 300k": Cell(
        TD3(env=env), 300_000, 50_000, f"mean >= {mean - sd}", lambda found, least=mean - sd: np.mean(found) >= least
    )
    for env, mean, sd in (("HalfCheetah-v5", 7697, 767), ("Hopper-v5", 2410, 949), ("Walker2d-v5", 3335, 1009))
}  # the author's learning curves at 300,000 frames, mean and standard deviation

# All agents and teams for continuous actions with the same frames, those of all actors together. SVPG's 32 environments share
# 32,000 frames in an episode each, and only episodes that end inside an interval have a return.
CELLS |= {
    f"{name}{kind} HalfCheetah-v5 80k": Cell(
        agent(env="delayed/HalfCheetah-v5" if kind else "HalfCheetah-v5"), 80_000, 40_000 if agent is SVPG else 8_000, seeds=3
    )
    for kind in ("", " delayed")
    for name, agent in (("td3", TD3), ("ddpg", DDPG), ("sac", SAC), ("erl", ERL), ("cem-rl", CEMRL), ("svpg", SVPG))
}
CELLS |= {
    f"{name} {env} 1M": Cell(agent(env=env), 1_000_000, 100_000)
    for env in ("BipedalWalker-v3", "HalfCheetah-v5")
    for name, agent in (("vmpo", VMPO), ("ppo", PPO))
}


def train(cell: Cell, seed: int) -> dict[str, Any]:
    """Returns one finished run: the return, the curve of training returns, the frames, and the seconds that it took.

    A team that never cuts a generation makes a few more frames than the cell has; all others make exactly that many.
    """
    began, cpu, frames = time.perf_counter(), time.process_time(), cell.frames
    carry, curve, done = cell.agent.init({}, [seed]), [], 0
    while done < frames:
        carry, metrics = cell.agent.train(carry, {}, min(cell.interval, frames - done), [1000 * (seed + 1) + len(curve)])
        curve.append(round(float(metrics["score"][0]), 1))
        done += int(metrics["steps"][0])
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    returns = cell.agent.evaluate(carry, 0, 100, seed)
    best = round(float(returns.mean()), 1)
    return {"return": best, "curve": curve, "frames": done, "seconds": round(seconds, 1), "cpu": round(cpu, 1)}


def measured(only: list[str], seeds: int | None, quick: bool) -> dict[str, dict[str, Any]]:
    """Returns the stored runs by cell and seed, after the missing ones were made; seed 0 of every cell comes first."""

    def make(cell: Cell, seed: int) -> dict[str, Any]:
        if quick:
            cell = replace(cell, agent=replace(cell.agent, hidden=(16,)), frames=2 * cell.interval)
        return train(cell, seed)

    chosen = {name: cell for name, cell in CELLS.items() if not only or name in only}
    return stored_runs(RESULTS, {name: (seeds or cell.seeds, partial(make, cell)) for name, cell in chosen.items()}, quick)


def figures(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the figures of the stored runs."""
    made = []
    for name, cell in CELLS.items():
        if runs := list(found.get(name, {}).values()):
            returns = [run["return"] for run in runs]
            holds = cell.holds(returns) if cell.holds and len(runs) >= cell.seeds else None
            made.append(over(f"{name}: return", returns, "", cell.target, holds))
            made.append(over(f"{name}: CPU time", [run["cpu"] for run in runs], "s"))
    return made


def main() -> None:
    """Measures what is missing, and prints all figures."""
    parser = command_line("rl_agents", __doc__, "two intervals of tiny networks; nothing is stored")
    parser.add_argument("--only", nargs="*", default=[], metavar="CELL", choices=list(CELLS), help="cells to run")
    parser.add_argument("--seeds", type=int, help="runs of each cell")
    options = parser.parse_args()
    began = time.perf_counter()
    made = figures(measured(options.only, options.seeds, options.quick))
    show(made)
    if options.json:
        print(json.dumps(report("rl_agents", made, time.perf_counter() - began)), flush=True)


if __name__ == "__main__":
    main()
