"""EnvPool: thousands of C++ environments, stepped by a pool of threads. One pool serves a whole population.

In EnvPool an episode's last step returns the state that it ended in; the step after it ignores its action and returns the
first observation of the next episode, which is what `Simulator` asks for. States cannot be saved, so pools are short-lived:
one is made for every interval, in milliseconds, with one seed per environment, and then repeats bit for bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import envpool
import numpy as np

from poptrain.rl.envs.spaces import describe, flatten
from poptrain.rl.envs.spec import Arrival, EnvSpec, HostBackend
from poptrain.rl.parts.cores import cores


def names() -> list[str]:
    """Returns every environment that this EnvPool knows."""
    return envpool.list_all_envs()


@lru_cache(maxsize=64)
def backend(name: str) -> HostBackend:
    """Returns the backend of one of `names`."""
    with quiet():
        pool = envpool.make_gymnasium(name, num_envs=1, seed=0)
        limit, space = pool.config.get("max_episode_steps"), pool.observation_space
        spec = describe(name, space, pool.action_space, int(limit) if limit else None)
        pool.close()
    return HostBackend(spec, lambda seeds, group, horizon: _Pool(spec, seeds, group, horizon))


class _Pool:
    def __init__(self, spec: EnvSpec, seeds: Sequence[int], group: int, horizon: int | None):
        limit = {"max_episode_steps": horizon} if horizon else {}
        with quiet():
            self.pool: Any = envpool.make_gymnasium(
                spec.name,
                num_envs=len(seeds),
                batch_size=group,
                num_threads=min(len(seeds), cores()),
                seed=[int(seed) for seed in seeds],
                **limit,
            )
            self.space = self.pool.observation_space  # kept by the pool from here on: it warns whenever it makes one
        self.pool.async_reset()

    def send(self, actions: np.ndarray, ids: np.ndarray) -> None:
        self.pool.send(actions, ids)

    def recv(self) -> Arrival:
        observations, rewards, terminated, truncated, info = self.pool.recv()
        ids = info["env_id"]
        return Arrival(ids, flatten(self.space, observations, len(ids)), rewards, terminated, truncated)

    def close(self) -> None:
        self.pool.close()


def quiet() -> warnings.catch_warnings:
    """Silences what Gymnasium says about the precision of EnvPool's bounds."""
    return warnings.catch_warnings(action="ignore")
