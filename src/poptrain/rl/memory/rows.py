"""A row of a replay memory: one transition of up to n steps that stands on its own, as 32-bit words.

    observation | action | n rewards | reach | state reached

``reach`` is the number of steps to the state reached, or 0 if the episode terminated there and nothing follows. The rewards
are kept apart, because the discount may be tuned: the target is formed when a row is learned from. A window never extends
across the end of an episode: it is shortened, so a time limit bootstraps from the state reached and a reset is never seen.
Observations are float32, or uint8 with four of them in a word.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from poptrain._jax import jax, jnp
from poptrain.rl.trees import Array


class Transitions(NamedTuple):
    """B rows, decoded; what an agent learns from."""

    observations: Array  # (B, O)
    actions: Array  # (B, A) within -1 and 1
    rewards: Array  # (B, n); 0 after the last step
    reach: Array  # (B,) steps to the state reached; 0: terminated
    reached: Array  # (B, O)


def bootstrap(batch: Transitions, discount: Array) -> tuple[Array, Array]:
    """Returns (R, D), (B,) each, of the n-step target R + D * value(reached)."""
    powers = discount ** jnp.arange(batch.rewards.shape[1])
    return batch.rewards @ powers, jnp.where(batch.reach > 0, discount**batch.reach, 0.0)


class Row(NamedTuple):
    """The layout of a row.

    Args:
        observation, action: their sizes.
        steps: n, the most steps of a transition.
        pixels: True stores observations as uint8; they must be whole numbers from 0 to 255.
    """

    observation: int
    action: int
    steps: int = 1
    pixels: bool = False

    @property
    def seen(self) -> int:
        """Words of an observation."""
        return -(-self.observation // 4) if self.pixels else self.observation

    @property
    def width(self) -> int:
        """Words of a row."""
        return 2 * self.seen + self.action + self.steps + 1

    def write(
        self,
        rows: np.ndarray,
        observations: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        reach: np.ndarray,
        reached: np.ndarray,
    ) -> None:
        """Fills rows, uint32 (B, width), in place; rewards (B, n)."""
        seen, numbers = self.seen, rows.view(np.float32)
        head = seen + self.action
        self._write_observations(rows[:, :seen], observations)
        numbers[:, seen:head] = actions
        numbers[:, head : head + self.steps] = rewards
        numbers[:, head + self.steps] = reach
        self._write_observations(rows[:, -seen:], reached)

    def _write_observations(self, words: np.ndarray, observations: np.ndarray) -> None:
        if self.pixels:
            whole = np.zeros((len(words), 4 * self.seen), np.uint8)
            whole[:, : self.observation] = observations
            words[:] = whole.view(np.uint32)
        else:
            words.view(np.float32)[:] = observations

    def encode(self, batch: Transitions) -> Array:
        """Returns rows as `write` fills them, inside a compiled program."""
        numbers = [batch.actions, batch.rewards, batch.reach[:, None]]
        words = [jax.lax.bitcast_convert_type(part.astype(jnp.float32), jnp.uint32) for part in numbers]
        return jnp.concatenate([self._words(batch.observations), *words, self._words(batch.reached)], 1)

    def _words(self, observations: Array) -> Array:
        if not self.pixels:
            return jax.lax.bitcast_convert_type(observations.astype(jnp.float32), jnp.uint32)
        whole = jnp.pad(observations.astype(jnp.uint8), ((0, 0), (0, 4 * self.seen - self.observation)))
        return jax.lax.bitcast_convert_type(whole.reshape(len(whole), self.seen, 4), jnp.uint32)

    def decode(self, rows: Array) -> Transitions:
        """Returns rows, (B, width), as transitions, inside a compiled program."""
        seen, head = self.seen, self.seen + self.action
        numbers = jax.lax.bitcast_convert_type(rows[:, seen : head + self.steps + 1], jnp.float32)
        return Transitions(
            self._observations(rows[:, :seen]),
            numbers[:, : self.action],
            numbers[:, self.action : -1],
            numbers[:, -1],
            self._observations(rows[:, -seen:]),
        )

    def _observations(self, words: Array) -> Array:
        if not self.pixels:
            return jax.lax.bitcast_convert_type(words, jnp.float32)
        parts = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(len(words), -1)
        return parts[:, : self.observation].astype(jnp.float32)
