"""The contract of environments: what an agent may know of one, and the two forms that it comes in.

Both forms follow EnvPool in one thing: the observation of the last tick of an episode is the state that it ended in. A
`Simulator` spends one more tick on the reset (that tick's action is ignored and its reward is no reward); a `DeviceEnv`
has no state of its own and is reset by whoever steps it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np


@dataclass(frozen=True)
class EnvSpec:
    """What an agent needs to know of an environment."""

    name: str
    observation: int  # features of the flattened observation
    actions: int  # dimensions of a continuous action, or number of discrete ones
    discrete: bool
    low: tuple[float, ...] = ()  # bounds of continuous actions, one per dimension
    high: tuple[float, ...] = ()
    horizon: int | None = None  # the environment's own time limit, in steps

    @property
    def recorded(self) -> int:
        """Numbers that one action is recorded as: its dimensions, or its index."""
        return 1 if self.discrete else self.actions


class Arrival(NamedTuple):
    """What some environments did; n of them, in no particular order."""

    ids: np.ndarray  # (n,) int
    observations: np.ndarray  # (n, O) float32
    rewards: np.ndarray  # (n,) float32
    terminated: np.ndarray  # (n,) bool
    truncated: np.ndarray  # (n,) bool


class Simulator(Protocol):
    """Many environments on the host, stepped while others wait. Opened by a `HostBackend`; every id resets at once."""

    def send(self, actions: np.ndarray, ids: np.ndarray) -> None:
        """Starts a step of the given environments; actions (n, A) within bounds, or (n,) int32."""
        ...

    def recv(self) -> Arrival:
        """Returns some of the environments that were reset or sent and have finished; waits for them."""
        ...

    def close(self) -> None: ...


class HostBackend(NamedTuple):
    """Environments that run on the host."""

    spec: EnvSpec
    # (seeds, group, horizon): one seed per environment, as many arrivals at once as divide `group`
    open: Callable[[Sequence[int], int, int | None], Simulator]


class DeviceEnv(NamedTuple):
    """One environment as pure JAX functions; its states are trees of arrays."""

    spec: EnvSpec
    reset: Callable[[Any], tuple[Any, Any]]  # key -> (state, observation (O,))
    step: Callable[[Any, Any], tuple[Any, Any, Any, Any]]  # (state, action) -> (state, observation, reward, terminated)
