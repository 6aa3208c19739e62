"""Gymnasium: any registered environment, stepped one after another in this process. For environments that EnvPool lacks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import SupportsFloat

import gymnasium
import numpy as np

from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.rl.envs.spaces import Observation, flat_observations, native_action, spec_of
from poptrain.rl.envs.spec import Arrival, EnvSpec, HostBackend


def names() -> list[str]:
    """Returns every environment that Gymnasium has registered."""
    return list(gymnasium.registry)


@lru_cache(maxsize=64)
def backend(name: str) -> HostBackend:
    """Returns the backend of one environment that `gymnasium.make` knows, ``module:Name-v0`` included.

    Raises:
        UsageError: Gymnasium cannot make the environment, usually because a package is missing.
    """
    try:
        env = gymnasium.make(name)
    except Exception as error:  # of Gymnasium, of an import, or of the environment's own constructor
        why = " ".join(str(error).split())
        raise UsageError(f"environment {name!r}: Gymnasium cannot make it: {type(error).__name__}: {why}") from error
    horizon = env.spec.max_episode_steps if env.spec else None
    spec = spec_of(name, env.observation_space, env.action_space, horizon)
    env.close()
    return HostBackend(spec, lambda seeds, group, horizon: _Serial(spec, seeds, group, horizon))


class _Serial:
    """A `Simulator` of environments that step one after another: one tick for a reset, `group` arrivals at once."""

    def __init__(self, spec: EnvSpec, seeds: Sequence[int], group: int, horizon: int | None):
        self.envs = [gymnasium.make(spec.name, max_episode_steps=horizon or None) for _ in seeds]
        self.seeds: list[int | None] = [int(seed) for seed in seeds]
        self.over = np.ones(len(seeds), bool)  # the next step is a reset
        self.spec, self.group = spec, group
        self.waiting: list[tuple[int, np.ndarray | None]] = [(i, None) for i in range(len(seeds))]

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

    def _step(self, i: int, action: np.ndarray | None) -> tuple[np.ndarray, float, bool, bool]:
        env = self.envs[i]
        if self.over[i] or action is None:
            self.over[i] = False
            seed, self.seeds[i] = self.seeds[i], None  # seeded once; later episodes continue its random numbers
            return self._flat(env.reset(seed=seed)[0]), 0.0, False, False
        observation, reward, terminated, truncated, _ = env.step(native_action(env.action_space, action))
        self.over[i] = terminated or truncated
        return self._flat(observation), self._number(reward), bool(terminated), bool(truncated)

    def _flat(self, observation: Observation) -> np.ndarray:
        flat = flat_observations(self.envs[0].observation_space, observation, 1)[0]
        if len(flat) != self.spec.observation:
            raise UsageError(
                f"environment {self.spec.name!r}: an observation has {counted(len(flat), 'number')}, and those of its "
                f"observation space have {self.spec.observation}. Return observations of the space."
            )
        return flat

    def _number(self, reward: SupportsFloat) -> float:
        try:
            return float(reward)
        except (TypeError, ValueError):
            raise UsageError(f"environment {self.spec.name!r}: a reward is {reward!r:.60}, expected a number.") from None

    def close(self) -> None:
        for env in self.envs:
            env.close()
