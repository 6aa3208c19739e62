"""Training with environments on the host: a carry goes in, an interval runs, a carry comes out.

A simulator's state cannot be saved, so every interval starts from resets seeded by the task; only then is training a
function of its arguments, and a resumed run the same run. The episodes that an interval cuts off are bootstrapped like time
limits in the buffer, so a batch that spans intervals stays right; their returns are not counted.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from poptrain.core.rng import rng
from poptrain.rl.envs.spec import HostBackend
from poptrain.rl.parts.host_interval import Seat, run_interval
from poptrain.rl.parts.hparams import of_member
from poptrain.rl.parts.learner import DIAGNOSTICS, LEARNED
from poptrain.rl.parts.learners import Learner
from poptrain.rl.parts.recording import Recording, pack, unpack
from poptrain.rl.parts.trees import stack, take

SEEDS = 1 << 30  # environments train on seeds below, and are evaluated on seeds from here to 2 * SEEDS


def train(
    backend: HostBackend,
    learner: Learner,
    slots: int,
    num_envs: int,
    horizon: int | None,
    carry: dict[str, Any],
    hparams: dict[str, np.ndarray],
    steps: int,
    seeds: np.ndarray,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the parts of the carry that training changes, and what happened.

    What happened: per member ``returns`` of the episodes that ended, their mean ``score`` and ``episode_length`` (NaN if
    none did), the mean return so far of the ``running`` episodes, ``steps``, ``updates`` and the last update's diagnostics.
    """
    spec, members = backend.spec, len(seeds)
    longest = horizon or spec.horizon
    if longest and steps < longest * num_envs:
        warnings.warn(
            f"{steps} steps are {steps / num_envs:.0f} in each of {num_envs} environments, fewer than the longest episode of "
            f"{spec.name} ({longest}): only those that end early count for the score. Take a longer interval or fewer num_envs.",
            stacklevel=2,
        )
    simulator = backend.open(training_seeds(seeds, num_envs), num_envs, horizon)
    seats = [
        Seat(
            spec,
            take({name: carry[name] for name in LEARNED}, i),
            unpack(carry["buffer"], i, Recording(slots, num_envs, spec.observation, spec.recorded)),
            of_member(hparams, i),
            int(seeds[i]),
            num_envs,
        )
        for i in range(members)
    ]
    try:
        run_interval(seats, simulator, learner, num_envs, steps)
    finally:
        simulator.close()
    last = [seat.diagnostics[-1] if seat.diagnostics else np.full(len(DIAGNOSTICS), np.nan) for seat in seats]
    happened = {
        "returns": [seat.returns for seat in seats],
        "score": np.asarray([_mean(seat.returns) for seat in seats]),
        "running": np.asarray([seat.running.mean() for seat in seats]),
        "episode_length": np.asarray([_mean(seat.lengths) for seat in seats]),
        "steps": np.asarray([seat.steps for seat in seats]),
        "updates": np.asarray([seat.updates for seat in seats]),
        **dict(zip(DIAGNOSTICS, np.stack(last, 1), strict=True)),
    }
    return {**stack([seat.state for seat in seats]), "buffer": pack([seat.recording for seat in seats])}, happened


def training_seeds(seeds: np.ndarray, num_envs: int) -> list[int]:
    """Returns one seed for every environment of every member."""
    return [int(x) for seed in seeds for x in rng(int(seed), "environments").integers(0, SEEDS, num_envs)]


def evaluation_seeds(seed: int, episodes: int) -> list[int]:
    """Returns seeds that no member ever trains on."""
    return [int(x) for x in SEEDS + rng(int(seed), "evaluation").integers(0, SEEDS, episodes)]


def _mean(values: list[Any]) -> float:
    return float(np.mean(values)) if values else float("nan")
