"""Training with environments inside the program: a carry goes in, the program runs, a carry comes out.

The ring of ticks has the capacity of the greatest batch; a carry holds what is filled. It moves in pages of one size, so
that nothing depends on how much that is. On CPUs, where a program keeps one core busy, each core runs it for its share of
the members.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from poptrain._jax import jax
from poptrain.rl.parts import device_interval
from poptrain.rl.parts.cores import cores
from poptrain.rl.parts.device_interval import FIELDS, LOG, PAGE, Program, resetter
from poptrain.rl.parts.learner import DIAGNOSTICS, LEARNED
from poptrain.rl.parts.recording import gather


def slots_for(rows: int, num_envs: int) -> int:
    """Returns the ticks that the ring needs for `rows` transitions and the state reached, in whole pages."""
    return -(-(-(-rows // num_envs) + 1) // PAGE) * PAGE


def empty_buffer(members: int, num_envs: int, observation: int, action: int) -> dict[str, np.ndarray]:
    """Returns the buffer of members that have recorded nothing; `recording.empty_buffer` with bootstrap values."""
    lead = (members, 0, num_envs)
    return {
        "observations": np.zeros((*lead, observation), np.float32),
        "actions": np.zeros((*lead, action), np.float32),
        "rewards": np.zeros(lead, np.float32),
        "marks": np.zeros(lead, np.uint8),
        "bootstrap": np.zeros(lead, np.float32),
        "ticks": np.zeros(members, np.int32),
        "n": np.zeros(members, np.int32),
    }


def fresh_world(env: Any, num_envs: int, seeds: np.ndarray) -> dict[str, Any]:
    """Returns environments at the begin of their first episodes."""
    states, observation = jax.device_get(resetter(env, num_envs)(seeds.astype(np.uint32)))
    lead = (len(seeds), num_envs)
    return {
        "state": states,
        "observation": observation,
        "running": np.zeros(lead, np.float32),
        "length": np.zeros(lead, np.int32),
    }


def train_in_shares(
    program: Callable[[int], Program], carry: dict[str, Any], hparams: dict[str, np.ndarray], steps: int, seeds: np.ndarray
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what `train` does, from one program for all members, or on CPUs one share of them on every core.

    Shares are of one width, so that there is one program to compile; the last one is filled up with copies. They have at
    least two members: a batch of one is multiplied in another order by XLA, and results should not depend on the cores.
    """
    members = len(seeds)
    shares = 1 if device_interval.accelerated() else max(1, min(cores(), members // 2))
    if shares == 1:
        return train(program(members), carry, hparams, steps, seeds)
    width = -(-members // shares)
    lanes = [[min(first + i, members - 1) for i in range(width)] for first in range(0, members, width)]

    def one(own: list[int]) -> tuple[dict[str, Any], dict[str, Any]]:
        settings = {name: column[own] for name, column in hparams.items()}
        part = gather([({name: carry[name] for name in (*LEARNED, "buffer", "env")}, i) for i in own])
        return train(program(width), part, settings, steps, seeds[own])

    with ThreadPoolExecutor(len(lanes)) as threads:
        changed, happened = zip(*threads.map(one, lanes), strict=True)
    where = [divmod(member, width) for member in range(members)]
    rows = {name: [happened[share][name][i] for share, i in where] for name in happened[0]}
    return gather([(changed[share], i) for share, i in where]), {k: v if k == "returns" else np.stack(v) for k, v in rows.items()}


def train(
    program: Program, carry: dict[str, Any], hparams: dict[str, np.ndarray], steps: int, seeds: np.ndarray
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the parts of the carry that training changes, and what happened; see `host_training.train`."""
    envs = program.layout.num_envs
    ticks = -(-steps // envs)
    ring, window = _load(program, carry["buffer"])
    world, state = carry["env"], {name: carry[name] for name in LEARNED}
    state, world, ring, window, log = program.run(state, world, ring, window, hparams, seeds.astype(np.uint32), np.int32(ticks))
    state, world, window, log = jax.device_get((state, world, window, log))
    episodes = np.maximum(log["episodes"], 1)
    happened = {
        "returns": [_latest(log["returns"][i], int(n)) for i, n in enumerate(log["episodes"])],
        "score": np.where(log["episodes"] > 0, log["sum"] / episodes, np.nan),
        "running": world["running"].mean(1),
        "episode_length": np.where(log["episodes"] > 0, log["lengths"] / episodes, np.nan),
        "steps": np.full(len(seeds), ticks * envs),
        "updates": log["updates"],
        **{name: log["diagnostics"][:, i] for i, name in enumerate(DIAGNOSTICS)},
    }
    return {**state, "buffer": _store(program, ring, window), "env": world}, happened


def _latest(log: np.ndarray, episodes: int) -> list[float]:
    latest = log[:episodes] if episodes <= LOG else np.roll(log, -(episodes % LOG))
    return [float(x) for x in latest]


def _load(program: Program, buffer: dict[str, np.ndarray]) -> tuple[Any, Any]:
    """The ring with every member's ticks ending at one common slot, the head."""
    ring = program.empty_ring()
    longest = int(buffer["ticks"].max())
    pages = -(-longest // PAGE)
    for page in range(pages):
        begin = page * PAGE
        part = {}
        for name in FIELDS:
            whole = buffer[name]
            array = np.zeros((PAGE, *whole.shape[:1], *whole.shape[2:]), whole.dtype)
            for member, ticks in enumerate(buffer["ticks"]):
                shift = longest - int(ticks)  # shorter recordings begin later
                first, last = max(begin, shift), min(begin + PAGE, longest)
                if first < last:
                    array[first - begin : last - begin, member] = whole[member, first - shift : last - shift]
            part[name] = array
        ring = program.put(ring, part, np.int32(begin))
    return ring, {"head": np.int32(longest % program.layout.slots), "ticks": buffer["ticks"], "n": buffer["n"]}


def _store(program: Program, ring: Any, window: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The buffer of a carry: arrays (P, ticks, E, …) as long as the fullest member's recording."""
    longest, slots = int(window["ticks"].max()), program.layout.slots
    begin = (int(window["head"]) - longest) % slots
    pages = [jax.device_get(program.get(ring, np.int32((begin + page * PAGE) % slots))) for page in range(-(-longest // PAGE))]
    buffer = {}
    for name in FIELDS:
        shape, dtype = ring[name].shape[2:], ring[name].dtype
        whole = np.concatenate([np.zeros((0, program.members, *shape), dtype), *(page[name] for page in pages)])[:longest]
        out = np.zeros((program.members, longest, *shape), dtype)
        for member, ticks in enumerate(window["ticks"]):
            out[member, :ticks] = whole[longest - int(ticks) :, member]
        buffer[name] = out
    return buffer | {"ticks": window["ticks"], "n": window["n"]}
