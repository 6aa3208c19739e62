"""Training with environments inside the compiled program: a carry goes in, the program runs, a carry comes out.

On CPUs a program keeps one core busy, so each core runs it for its share of the members.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np

from poptrain._jax import jax
from poptrain.core.cpus import cpus
from poptrain.rl.envs.spec import DeviceEnv
from poptrain.rl.loops import device_interval
from poptrain.rl.loops.device_interval import RETURNS_KEPT, UPDATE_KEYS, Program
from poptrain.rl.loops.interval import IntervalOutcome
from poptrain.rl.memory.recording import gather
from poptrain.rl.trees import Array, Parts, Tree


@lru_cache(maxsize=16)
def _resetter(env: DeviceEnv, num_envs: int) -> Callable[[np.ndarray], tuple[Tree, Array]]:
    """Returns a compiled seeds (P,) -> (states, observations) of fresh environments, leading axes (P, E)."""

    def reset(seeds: Array) -> tuple[Tree, Array]:
        keys = jax.vmap(lambda seed: jax.random.split(jax.random.fold_in(jax.random.key(seed), UPDATE_KEYS), num_envs))(seeds)
        return jax.vmap(jax.vmap(env.reset))(keys)

    return jax.jit(reset)


def fresh_world(env: DeviceEnv, num_envs: int, seeds: np.ndarray) -> Parts:
    """Returns the world of a `Program` at the beginning of its first episodes; seeds (P,)."""
    states, observation = jax.device_get(_resetter(env, num_envs)(seeds.astype(np.uint32)))
    lead = (len(seeds), num_envs)
    return {
        "state": states,
        "observation": observation,
        "running": np.zeros(lead, np.float32),
        "length": np.zeros(lead, np.int32),
    }


def train_in_shares(
    program: Callable[[int], Program], carry: Parts, hparams: dict[str, np.ndarray], steps: int, seeds: np.ndarray
) -> tuple[Parts, IntervalOutcome]:
    """Returns what `train_on_device` returns, from one program for all members, or on CPUs from one share of them on every core.

    Shares have the same width, so that only one program is compiled; the last one is filled up with copies. They have at
    least two members: XLA multiplies a batch of one in another order, and results should not depend on the number of cores.

    Args:
        program: returns the program for a number of members.
    """
    members = len(seeds)
    shares = 1 if device_interval.accelerated() else max(1, min(cpus(), members // 2))
    if shares == 1:
        return train_on_device(program(members), carry, hparams, steps, seeds)
    width = -(-members // shares)
    lanes = [[min(first + i, members - 1) for i in range(width)] for first in range(0, members, width)]

    def one(own: list[int]) -> tuple[Parts, IntervalOutcome]:
        settings = {name: column[own] for name, column in hparams.items()}
        share = program(width)
        part = gather([({name: carry[name] for name in (*share.agent.learned, "buffer", "env")}, i) for i in own])
        return train_on_device(share, part, settings, steps, seeds[own])

    with ThreadPoolExecutor(len(lanes)) as threads:
        changed, intervals = zip(*threads.map(one, lanes), strict=True)
    where = [divmod(member, width) for member in range(members)]
    return gather([(changed[share], i) for share, i in where]), _joined(intervals, where)


def _joined(intervals: tuple[IntervalOutcome, ...], where: list[tuple[int, int]]) -> IntervalOutcome:
    """Returns one interval of all members; member i is at `where[i]`: (share, index in it)."""

    def column(parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([parts[share][i] for share, i in where])

    return IntervalOutcome(
        returns=[intervals[share].returns[i] for share, i in where],
        score=column([each.score for each in intervals]),
        running=column([each.running for each in intervals]),
        episode_length=column([each.episode_length for each in intervals]),
        steps=column([each.steps for each in intervals]),
        updates=column([each.updates for each in intervals]),
        diagnostics={name: column([each.diagnostics[name] for each in intervals]) for name in intervals[0].diagnostics},
        by_env=None if intervals[0].by_env is None else column([each.by_env for each in intervals]),
    )


def train_on_device(
    program: Program, carry: Parts, hparams: dict[str, np.ndarray], steps: int, seeds: np.ndarray
) -> tuple[Parts, IntervalOutcome]:
    """Returns the parts of the carry that training changes, and what happened.

    Args:
        hparams: all hyperparameters, (P,) each.
        steps: environment steps per member, rounded up to whole ticks.
        seeds: of the tasks, (P,).
    """
    envs = program.layout.num_envs
    ticks = -(-steps // envs)
    ring, window = program.ring.load(carry["buffer"])
    world, state = carry["env"], {name: carry[name] for name in program.agent.learned}
    state, world, ring, window, log = program.run(state, world, ring, window, hparams, seeds.astype(np.uint32), np.int32(ticks))
    state, world, window, log = jax.device_get((state, world, window, log))
    happened = outcome_of(log, world, np.full(len(seeds), ticks * envs), program.agent.diagnostics)
    return {**state, "buffer": program.ring.store(ring, window), "env": world}, happened


def outcome_of(log: Parts, world: Parts, steps: np.ndarray, diagnostics: Sequence[str]) -> IntervalOutcome:
    """Returns what happened, from the log of a program and the world after it; leading axes (P,)."""
    episodes = np.maximum(log["episodes"], 1)
    return IntervalOutcome(
        returns=[_latest(log["returns"][i], int(n)) for i, n in enumerate(log["episodes"])],
        score=np.where(log["episodes"] > 0, log["sum"] / episodes, np.nan),
        running=world["running"].mean(1),
        episode_length=np.where(log["episodes"] > 0, log["lengths"] / episodes, np.nan),
        steps=steps,
        updates=log["updates"],
        diagnostics={name: log["diagnostics"][:, i] for i, name in enumerate(diagnostics)},
        by_env=log["by_env"],
    )


def _latest(log: np.ndarray, episodes: int) -> list[float]:
    latest = log[:episodes] if episodes <= RETURNS_KEPT else np.roll(log, -(episodes % RETURNS_KEPT))
    return [float(x) for x in latest]
