"""A pure-JAX environment as a `Simulator`: for evaluation, where a policy acts in every kind of environment in the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from poptrain._jax import jax, jnp
from poptrain.rl.envs.spec import Arrival, DeviceEnv
from poptrain.rl.trees import Array, Tree


class Stepped:
    """All environments step together when their actions are sent; a finished one continues without a reset."""

    def __init__(self, env: DeviceEnv, seeds: Sequence[int], horizon: int | None):
        reset, self.step = _compiled(env)
        self.n, self.horizon, self.ticks = len(seeds), horizon, 0
        self.states, observations = reset(np.asarray(seeds, np.uint32))
        nothing = np.zeros(self.n, bool)
        self.arrival = self._arrive(observations, np.zeros(self.n, np.float32), nothing)

    def send(self, actions: np.ndarray, ids: np.ndarray) -> None:
        self.states, *results = self.step(self.states, actions.reshape(self.n, -1).astype(np.float32))
        self.ticks += 1
        self.arrival = self._arrive(*results)

    def _arrive(self, observations: Array, rewards: Array | np.ndarray, terminated: Array | np.ndarray) -> Arrival:
        late = np.full(self.n, self.horizon is not None and self.ticks >= self.horizon)
        over = np.asarray(terminated)
        return Arrival(np.arange(self.n, dtype=np.int32), np.asarray(observations), np.asarray(rewards), over, late & ~over)

    def recv(self) -> Arrival:
        return self.arrival

    def close(self) -> None:
        pass


@lru_cache(maxsize=16)
def _compiled(env: DeviceEnv) -> tuple[Callable[..., tuple[Tree, Array]], Callable[..., tuple[Tree, Array, Array, Array]]]:
    """Returns the compiled (reset, step) of n environments: seeds (n,) -> …, (states, actions (n, A)) -> …"""
    return (
        jax.jit(jax.vmap(lambda seed: env.reset(jax.random.key(seed)))),
        jax.jit(jax.vmap(lambda state, action: env.step(state, jnp.asarray(action)))),
    )
