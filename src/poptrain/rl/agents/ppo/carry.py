"""The carry of a population of PPO agents: how it begins, and what an interval adds to it and to the metrics.

Every array leads with (P,): the `LEARNED` parts, ``score``, ``episode_length``, ``updates``, ``diagnostics``, the ``buffer`` of
transitions since the last update, and for environments inside the program their ``env``, see `loops.device_interval.Program`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from poptrain._jax import jax
from poptrain.core.rng import rng
from poptrain.rl.adam import init_adam
from poptrain.rl.agents.ppo.learner import DIAGNOSTICS
from poptrain.rl.agents.ppo.value_scale import init_value_scale
from poptrain.rl.envs.spec import DeviceEnv, HostBackend
from poptrain.rl.loops.device import fresh_world
from poptrain.rl.loops.interval import IntervalOutcome
from poptrain.rl.memory.recording import empty_recordings
from poptrain.rl.memory.ring import empty_rings
from poptrain.rl.nets import init_params
from poptrain.rl.normaliser import init_normaliser
from poptrain.rl.trees import Parts, all_finite, stack, take


def fresh_carry(env: DeviceEnv | HostBackend, num_envs: int, hidden: tuple[int, ...], seeds: np.ndarray) -> Parts:
    """Returns the carry of P fresh members; seeds (P,)."""
    spec, members = env.spec, len(seeds)
    log_std = 0 if spec.discrete else spec.actions
    params = [init_params(rng(int(seed), "init"), spec.observation, hidden, spec.actions, log_std) for seed in seeds]
    size = sum(leaf[0].size for leaf in jax.tree.leaves(stack(params[:1])))
    carry = {
        "params": stack(params),
        "adam": stack([init_adam(size)] * members),
        "normaliser": stack([init_normaliser(spec.observation)] * members),
        "value_scale": stack([init_value_scale()] * members),
        "kl_scale": np.ones(members, np.float32),
        "score": np.full(members, np.nan),
        "episode_length": np.full(members, np.nan),
        "updates": np.zeros(members, np.int64),
        "diagnostics": {name: np.full(members, np.nan, np.float32) for name in DIAGNOSTICS},
    }
    if isinstance(env, DeviceEnv):
        buffer = empty_rings(members, num_envs, spec.observation, spec.recorded)
        return carry | {"buffer": buffer, "env": fresh_world(env, num_envs, seeds)}
    return carry | {"buffer": empty_recordings(members, num_envs, spec.observation, spec.recorded)}


def evaluation_only(carry: Parts, returns: list[np.ndarray]) -> IntervalOutcome:
    """Returns the interval of members that were evaluated and not trained.

    Args:
        returns: of each member's episodes, (episodes,) each.
    """
    score, nothing = np.asarray([each.mean() for each in returns]), np.zeros(len(returns), int)
    kept = [[float(x) for x in each] for each in returns]
    return IntervalOutcome(kept, score, score, carry["episode_length"], nothing, nothing, carry["diagnostics"])


def account(carry: Parts, happened: IntervalOutcome, kl_coeff: np.ndarray) -> tuple[Parts, Parts]:
    """Returns the carry with the interval added, and its metrics; members without new episodes keep their last known score.

    Args:
        carry: after the interval.
        kl_coeff: as the hyperparameters set it, (P,).
    """
    score = _known(happened.score, carry["score"])
    finite = np.asarray([all_finite(take(carry["params"], i)) for i in range(len(score))])
    length = _known(happened.episode_length, carry["episode_length"])
    updates = carry["updates"] + happened.updates
    diagnostics = _latest_diagnostics(carry["diagnostics"], happened)
    metrics = {
        "score": np.where(finite, _known(score, happened.running), np.nan),
        "returns": happened.returns,
        "steps": happened.steps,
        "updates": updates,
        "episode_length": length,
        "kl_coeff": kl_coeff * carry["kl_scale"],
        **diagnostics,
    }
    log_std = carry["params"]["log_std"]
    if log_std.shape[1]:
        metrics["std"] = np.exp(log_std).mean(1)
    return carry | {"score": score, "episode_length": length, "updates": updates, "diagnostics": diagnostics}, metrics


def _latest_diagnostics(old: Mapping[str, np.ndarray], happened: IntervalOutcome) -> dict[str, np.ndarray]:
    updated = happened.updates > 0
    return {name: np.where(updated, happened.diagnostics[name], old[name]).astype(np.float32) for name in DIAGNOSTICS}


def _known(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Returns the new values where they are finite, and else the old ones."""
    return np.where(np.isfinite(new), new, old)
