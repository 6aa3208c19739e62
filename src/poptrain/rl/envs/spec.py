"""What an agent may know of an environment, and the two forms of environments.

Both forms follow EnvPool in one thing: the observation of the last tick of an episode is the state that it ended in. A
`Simulator` spends one more tick on the reset: the action of that tick is ignored, and its reward does not count. A `DeviceEnv`
has no state of its own; the code that steps it also resets it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from poptrain.rl.trees import Array, Tree


@dataclass(frozen=True)
class EnvSpec:
    """The shapes and bounds of an environment."""

    name: str
    observation: int  # features of the flattened observation
    actions: int  # dimensions of a continuous action, or number of discrete ones
    discrete: bool
    low: tuple[float, ...] = ()  # bounds of continuous actions, one per dimension
    high: tuple[float, ...] = ()
    horizon: int | None = None  # the environment's own time limit, in steps
    pixels: bool = False  # observations are whole numbers from 0 to 255, as far as their space says

    @property
    def recorded(self) -> int:
        """Numbers that one action is recorded as: its dimensions, or its index."""
        return 1 if self.discrete else self.actions

    def scaled(self, actions: np.ndarray) -> np.ndarray:
        """Returns continuous actions within the bounds, (E, A), from actions within -1 and 1; in numpy or in JAX."""
        low, high = np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)
        return low + (actions + np.float32(1.0)) * (np.float32(0.5) * (high - low))


class Arrival(NamedTuple):
    """The results of n environments that finished a step or a reset, in no particular order."""

    ids: np.ndarray  # (n,) int
    observations: np.ndarray  # (n, O) float32
    rewards: np.ndarray  # (n,) float32
    terminated: np.ndarray  # (n,) bool
    truncated: np.ndarray  # (n,) bool


class Simulator(Protocol):
    """Many environments on the host, stepped while others wait. A `HostBackend` opens it; every id then resets at once."""

    def send(self, actions: np.ndarray, ids: np.ndarray) -> None:
        """Starts a step of the given environments; actions (n, A) within bounds, or (n,) int32."""
        ...

    def recv(self) -> Arrival:
        """Returns some of the environments that were reset or sent and have finished; waits for them."""
        ...

    def close(self) -> None:
        """Ends all environments."""
        ...


class HostBackend(NamedTuple):
    """Environments that run on the host."""

    spec: EnvSpec
    # (seeds, group, horizon): one seed per environment; arrivals come in groups whose size divides `group`
    open: Callable[[Sequence[int], int, int | None], Simulator]


class DeviceEnv(NamedTuple):
    """One environment as pure JAX functions; its states are trees of arrays."""

    spec: EnvSpec
    reset: Callable[[Array], tuple[Tree, Array]]  # key -> (state, observation (O,))
    step: Callable[[Tree, Array], tuple[Tree, Array, Array, Array]]  # (state, action) -> (state, observation, reward, terminated)


BRAX = "brax/"  # how the names of its robots begin
ROBOTS = {"humanoidstandup": "HumanoidStandup", "halfcheetah": "HalfCheetah"}  # of Brax; the others follow from their words


def simulated(name: str) -> str:
    """Returns the name under which a pure JAX environment is simulated on the host: jax/X-v1 is X-v1, brax/ant is Ant-v5."""
    if not name.startswith(BRAX):
        return name.removeprefix("jax/")
    robot = name.split("/")[1]
    return ROBOTS.get(robot, robot.replace("_", " ").title().replace(" ", "")).replace("2D", "2d") + "-v5"
