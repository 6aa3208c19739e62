"""What loops need of an agent that learns from a replay memory, and the compiled burst of its updates.

A *burst* is all the updates that are due at one time, in one program: dispatching them one by one costs a fifth of the speed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from threading import Lock
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np

from poptrain._jax import jax, jnp
from poptrain.rl.memory.rows import Row, Transitions
from poptrain.rl.trees import Array, Parts, Scalars, Tree

BURST = 64  # updates of one call of the compiled program at most
ALMOST = 1e-4  # an update is due a little early: ten times 0.7 is less than 7 in floating point

Numbers = Any  # arrays of numpy or JAX: the functions that take them are called with both


class Settings(NamedTuple):
    """What a loop needs to know besides the hyperparameters."""

    num_envs: int
    horizon: int | None  # longest episode in steps; None: the environment's own limit
    capacity: int  # rows of the memory
    update_every: int  # steps between bursts


def part_due(steps: int, starts: int, rate: float) -> float:
    """Returns the part of an update that was due and not made when the last interval ended, from -`ALMOST` to 1.

    It follows from the steps before, so that intervals of any length make as many updates together as a single one.

    Args:
        steps: before this interval.
        starts: steps without updates at the beginning.
        rate: updates for each further step.
    """
    due = max(0, steps - starts) * rate
    return due - int(due + ALMOST)


class OffPolicyAgent(Protocol):
    """Pure functions of one member. Hashable, because compiled programs are cached by it.

    A state has the part ``params["actor"]``, the layers of the policy network.
    """

    @property
    def actor_activation(self) -> str:
        """The activation of the policy network, a name in `mlp.HOST_ACTIVATIONS`."""
        ...

    @property
    def learned(self) -> tuple[str, ...]:
        """The parts of a carry that learning changes; together they are the `state` of the functions below."""
        ...

    @property
    def diagnostics(self) -> tuple[str, ...]:
        """Names of the numbers that `update` returns."""
        ...

    def init(self, observation: int, actions: int, generator: np.random.Generator) -> Parts:
        """Returns the state of a fresh member."""
        ...

    def action(self, xp: ModuleType, outputs: Numbers, noise: Numbers | None, hparams: Mapping[str, Numbers]) -> Numbers:
        """Returns actions within -1 and 1, (E, A), from outputs of the policy network, (E, D).

        Args:
            xp: numpy or jax.numpy, in which the arrays are.
            noise: standard normal, (E, A); None acts by the mode of the policy.
        """
        ...

    def update(self, state: Parts, batch: Transitions, hparams: Scalars, key: Array) -> tuple[Parts, Array]:
        """Returns the state after one update, and the diagnostics, (len(diagnostics),)."""
        ...


class Learner:
    """The compiled bursts of one agent, for batches of one size."""

    def __init__(self, agent: OffPolicyAgent, row: Row, batch_size: int):
        self.agent, self.row, self.batch_size = agent, row, batch_size
        self._lock = Lock()
        self._compiled: jax.stages.Compiled | None = None

    def buffer(self) -> np.ndarray:
        """Returns an array for the rows of a burst, (BURST, B, width)."""
        return np.zeros((BURST, self.batch_size, self.row.width), np.uint32)

    def burst(
        self, state: Parts, rows: np.ndarray, updates: int, hparams: Mapping[str, np.generic], seed: int, done: int
    ) -> tuple[Parts, Array]:
        """Returns the state after `updates` updates, and the diagnostics of the last one.

        Args:
            rows: from `buffer`, filled for `updates` batches.
            seed: of the task.
            done: updates of this task so far; the randomness is a function of both.
        """
        arguments = (state, rows, np.int32(updates), dict(hparams), np.uint32(seed), np.int32(done))
        with self._lock:
            if self._compiled is None:
                self._compiled = jax.jit(self._burst).lower(*arguments).compile()
        return self._compiled(*arguments)

    def _burst(
        self, state: Parts, rows: Array, updates: Array, hparams: Scalars, seed: Array, done: Array
    ) -> tuple[Parts, Array]:
        key = jax.random.key(seed)

        def body(i: Array, carry: Tree) -> Tree:
            return self.agent.update(carry[0], self.row.decode(rows[i]), hparams, jax.random.fold_in(key, done + i))

        return jax.lax.fori_loop(0, updates, body, (state, jnp.zeros(len(self.agent.diagnostics))))


@lru_cache(maxsize=16)
def learner_for(agent: OffPolicyAgent, row: Row, batch_size: int) -> Learner:
    """Returns the one learner of this process for these settings."""
    return Learner(agent, row, batch_size)
