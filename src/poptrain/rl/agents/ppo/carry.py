"""The carry of a population of PPO agents: how it begins, and what an interval adds to it and to the metrics.

Every array leads with (P,): the `LEARNED` parts, ``score``, ``episode_length``, ``updates``, ``diagnostics``, the ``buffer`` of
transitions since the last update, and for environments inside the program their ``env``, see `loops.device_interval.Program`.
"""

from __future__ import annotations

import numpy as np

from poptrain._jax import jax
from poptrain.core.rng import rng
from poptrain.rl import account as shared
from poptrain.rl.adam import init_adam
from poptrain.rl.agents.ppo.learner import DIAGNOSTICS
from poptrain.rl.agents.ppo.value_scale import init_value_scale
from poptrain.rl.architecture import Architecture
from poptrain.rl.envs.spec import DeviceEnv, HostBackend
from poptrain.rl.loops.device import fresh_world
from poptrain.rl.loops.interval import IntervalOutcome
from poptrain.rl.memory.recording import empty_recordings
from poptrain.rl.memory.ring import empty_rings
from poptrain.rl.nets import init_params
from poptrain.rl.normaliser import init_normaliser
from poptrain.rl.trees import Parts, stack


def fresh_carry(env: DeviceEnv | HostBackend, num_envs: int, networks: Architecture, seeds: np.ndarray) -> Parts:
    """Returns the carry of P fresh members of one architecture; seeds (P,)."""
    spec, members = env.spec, len(seeds)
    log_std = 0 if spec.discrete else spec.actions
    params = [init_params(rng(int(seed), "init"), spec.observation, networks, spec.actions, log_std) for seed in seeds]
    size = sum(leaf[0].size for leaf in jax.tree.leaves(stack(params[:1])))
    carry = {
        "params": stack(params),
        "adam": stack([init_adam(size)] * members),
        "normaliser": stack([init_normaliser(spec.observation)] * members),
        "value_scale": stack([init_value_scale()] * members),
        "kl_scale": np.ones(members, np.float32),
    } | shared.fresh_account(members, DIAGNOSTICS)
    if isinstance(env, DeviceEnv):
        buffer = empty_rings(members, num_envs, spec.observation, spec.recorded)
        return carry | {"buffer": buffer, "env": fresh_world(env, num_envs, seeds)}
    return carry | {"buffer": empty_recordings(members, num_envs, spec.observation, spec.recorded)}


def account(carry: Parts, happened: IntervalOutcome, kl_coeff: np.ndarray) -> tuple[Parts, Parts]:
    """Returns the carry with the interval added, and its metrics; members without new episodes keep their last known score.

    Args:
        carry: after the interval.
        kl_coeff: as the hyperparameters set it, (P,).
    """
    carry, metrics = shared.account(carry, happened, {"kl_coeff": kl_coeff * carry["kl_scale"]})
    log_std = carry["params"]["log_std"]
    if log_std.shape[1]:
        metrics["std"] = np.exp(log_std).mean(1)
    return carry, metrics
