"""Generalised advantage estimation (arXiv 1506.02438), cut where an episode or its recording ends.

Every recorded tick of every environment carries one of four marks:

==========  =========================================================================================================
GOES_ON     the next tick continues the episode
TRUNCATED   a time limit, or the end of the recording: the value of the state reached stands for the rest
TERMINATED  the episode is over: nothing follows
RESET       not a transition: the tick at which an environment resets and ignores its action. Its observation is the one
            that the transition before reached, so that the bootstrap value always stands one tick later.
==========  =========================================================================================================
"""

from __future__ import annotations

from typing import Any

from poptrain._jax import jnp

GOES_ON, TRUNCATED, TERMINATED, RESET = range(4)


def advantage(reward: Any, mark: Any, value: Any, next_value: Any, next_advantage: Any, discount: Any, decay: Any) -> Any:
    """Returns the advantages of one tick, shape (E,), given those of the tick after it.

    Args:
        reward, mark, value: of this tick; shape (E,).
        next_value: value of the state that this tick reached, before any reset; shape (E,).
        next_advantage: result for the next tick; shape (E,).
        discount, decay: gamma and gamma * lambda.
    """
    delta = reward + discount * jnp.where(mark == TERMINATED, 0.0, next_value) - value  # eq. (9)
    return delta + decay * jnp.where(mark == GOES_ON, next_advantage, 0.0)  # eq. (16), backwards
