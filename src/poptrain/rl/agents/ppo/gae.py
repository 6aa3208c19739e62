"""Generalised advantage estimation (arXiv 1506.02438), cut where an episode or its recording ends."""

from __future__ import annotations

from poptrain._jax import jnp
from poptrain.rl.memory.marks import GOES_ON, TERMINATED
from poptrain.rl.trees import Array


def advantage(
    reward: Array, mark: Array, value: Array, next_value: Array, next_advantage: Array, discount: Array, decay: Array
) -> Array:
    """Returns the advantages of one tick, shape (E,), from those of the tick after it.

    Args:
        reward, mark, value: of this tick, see `memory.marks`; shape (E,).
        next_value: value of the state that this tick reached, before any reset; shape (E,).
        next_advantage: result for the next tick; shape (E,).
        discount, decay: gamma and gamma * lambda.
    """
    delta = reward + discount * jnp.where(mark == TERMINATED, 0.0, next_value) - value  # eq. (9)
    return delta + decay * jnp.where(mark == GOES_ON, next_advantage, 0.0)  # eq. (16), backwards
