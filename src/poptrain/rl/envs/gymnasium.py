"""Gymnasium: any registered environment, stepped one after another in this process. Where EnvPool cannot help."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import gymnasium
import numpy as np

from poptrain.core.errors import UsageError
from poptrain.rl.envs.spaces import describe, flatten
from poptrain.rl.envs.spec import Arrival, EnvSpec, HostBackend


def names() -> list[str]:
    """Returns every environment that Gymnasium has registered."""
    return list(gymnasium.registry)


@lru_cache(maxsize=64)
def backend(name: str) -> HostBackend:
    """Returns the backend of one environment that `gymnasium.make` knows, ``module:Name-v0`` included.

    Raises:
        UsageError: the environment cannot be made, mostly because a package that it needs is missing.
    """
    try:
        env = gymnasium.make(name)
    except (gymnasium.error.Error, ImportError) as error:
        raise UsageError(f"env {name!r}: Gymnasium cannot make it: {error}") from error
    horizon = env.spec.max_episode_steps if env.spec else None
    spec = describe(name, env.observation_space, env.action_space, horizon)
    env.close()
    return HostBackend(spec, lambda seeds, group, horizon: _Serial(spec, seeds, group, horizon))


class _Serial:
    """Environments in a row that keep `Simulator`'s promises: one tick for a reset, `group` arrivals at once."""

    def __init__(self, spec: EnvSpec, seeds: Sequence[int], group: int, horizon: int | None):
        limit = {"max_episode_steps": horizon} if horizon else {}
        self.envs = [gymnasium.make(spec.name, **limit) for _ in seeds]
        self.seeds: list[int | None] = [int(seed) for seed in seeds]
        self.over = np.ones(len(seeds), bool)  # the next step is a reset
        self.spec, self.group = spec, group
        self.waiting: list[tuple[int, Any]] = [(i, None) for i in range(len(seeds))]

    def send(self, actions: np.ndarray, ids: np.ndarray) -> None:
        self.waiting.extend(zip(ids.tolist(), actions, strict=True))

    def recv(self) -> Arrival:
        now, self.waiting = self.waiting[: self.group], self.waiting[self.group :]
        steps = [self._step(i, action) for i, action in now]
        observations, rewards, terminated, truncated = zip(*steps, strict=True)
        return Arrival(
            np.asarray([i for i, _ in now], np.int32),
            np.stack(observations),
            np.asarray(rewards, np.float32),
            np.asarray(terminated, bool),
            np.asarray(truncated, bool),
        )

    def _step(self, i: int, action: Any) -> tuple[np.ndarray, float, bool, bool]:
        env = self.envs[i]
        if self.over[i]:
            self.over[i] = False
            seed, self.seeds[i] = self.seeds[i], None  # seeded once; later episodes go on from there
            return self._flat(env.reset(seed=seed)[0]), 0.0, False, False
        if self.spec.discrete:
            action = int(action) + int(getattr(env.action_space, "start", 0))
        else:
            action = np.asarray(action, env.action_space.dtype).reshape(env.action_space.shape)
        observation, reward, terminated, truncated, _ = env.step(action)
        self.over[i] = terminated or truncated
        return self._flat(observation), float(reward), bool(terminated), bool(truncated)

    def _flat(self, observation: Any) -> np.ndarray:
        space = self.envs[0].observation_space
        return flatten(space, observation, 1)[0]

    def close(self) -> None:
        for env in self.envs:
            env.close()
