"""EnvPool: thousands of C++ environments, stepped by a pool of threads. One pool serves a whole population.

In EnvPool the last step of an episode returns the state that it ended in; the step after it ignores its action and returns the
first observation of the next episode, as `Simulator` demands. States cannot be saved, so pools are short-lived: every interval
makes one in milliseconds, with one seed per environment, and its results are the same bit for bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache

import envpool
import numpy as np

from poptrain.core.cpus import cpus
from poptrain.rl.envs.spaces import flat_observations, spec_of
from poptrain.rl.envs.spec import Arrival, EnvSpec, HostBackend


def names() -> list[str]:
    """Returns every environment that the installed EnvPool has."""
    return envpool.list_all_envs()


@lru_cache(maxsize=64)
def backend(name: str) -> HostBackend:
    """Returns the backend of one of `names`."""
    with quiet():
        pool = envpool.make_gymnasium(name, num_envs=1, seed=0)
        limit, space = pool.config.get("max_episode_steps"), pool.observation_space
        spec = spec_of(name, space, pool.action_space, int(limit) if limit else None)
        pool.close()
    return HostBackend(spec, lambda seeds, group, horizon: _Pool(spec, seeds, group, horizon))


class _Pool:
    """A `Simulator` of EnvPool."""

    def __init__(self, spec: EnvSpec, seeds: Sequence[int], group: int, horizon: int | None):
        limit = {"max_episode_steps": horizon} if horizon else {}
        with quiet():
            self.pool = envpool.make_gymnasium(
                spec.name,
                num_envs=len(seeds),
                batch_size=group,
                num_threads=min(len(seeds), cpus()),
                seed=[int(seed) for seed in seeds],
                **limit,
            )
            self.space = self.pool.observation_space  # read once: every read warns
        self.pool.async_reset()

    def send(self, actions: np.ndarray, ids: np.ndarray) -> None:
        self.pool.send(actions, ids)

    def recv(self) -> Arrival:
        observations, rewards, terminated, truncated, info = self.pool.recv()
        ids = info["env_id"]
        return Arrival(ids, flat_observations(self.space, observations, len(ids)), rewards, terminated, truncated)

    def close(self) -> None:
        self.pool.close()


def quiet() -> warnings.catch_warnings:
    """Returns a context without Gymnasium's warnings about the precision of EnvPool's bounds."""
    return warnings.catch_warnings(action="ignore")
