"""Windows of n steps inside a compiled program: what `replay.Windows` does, for all environments of a member at every tick.

A window is ``{"observations": (n - 1, E, O), "actions", "rewards": (n - 1, E), "open": (n - 1, E)}``: the last ticks, the newest
first; open ones began a transition whose last step is not known yet.
"""

from __future__ import annotations

import numpy as np

from poptrain._jax import jnp
from poptrain.rl.memory.rows import Row, Transitions
from poptrain.rl.trees import Array, Parts


def empty_windows(members: int, row: Row, envs: int) -> Parts:
    """Returns the windows of P members before their first tick, with a leading axis of members."""
    lead = (members, row.steps - 1, envs)
    return {
        "observations": np.zeros((*lead, row.observation), np.float32),
        "actions": np.zeros((*lead, row.action), np.float32),
        "rewards": np.zeros(lead, np.float32),
        "open": np.zeros(lead, bool),
    }


def advance(
    window: Parts, row: Row, tick: tuple[Array, Array, Array], reached: Array, terminated: Array, over: Array
) -> tuple[Parts, Array, Array]:
    """Returns the next window, rows (n * E, width), and which of them are transitions that are known now, (n * E,).

    Args:
        tick: observations (E, O), actions (E, A) and rewards (E,).
        reached: states (E, O) after the tick, before any reset.
        terminated, over: (E,); see `replay.Windows.add`.
    """
    n, envs = row.steps, len(reached)
    names = ("observations", "actions", "rewards")
    last = {name: jnp.concatenate([new[None], window[name]]) for name, new in zip(names, tick, strict=True)}
    is_open = jnp.concatenate([jnp.ones((1, envs), bool), window["open"]])  # by age: the tick itself, the one before, …
    ready = is_open & (over | (jnp.arange(n)[:, None] == n - 1))
    ages, steps = jnp.arange(n)[:, None], jnp.arange(n)[None, :]
    rewards = jnp.where((steps <= ages)[..., None], last["rewards"][jnp.maximum(ages - steps, 0)], 0.0)  # (age, step, E)
    reach = jnp.where(terminated, 0.0, jnp.arange(1.0, n + 1.0)[:, None])
    batch = Transitions(
        last["observations"].reshape(n * envs, -1),
        last["actions"].reshape(n * envs, -1),
        jnp.swapaxes(rewards, 1, 2).reshape(n * envs, n),
        reach.reshape(-1),
        jnp.broadcast_to(reached, (n, *reached.shape)).reshape(n * envs, -1),
    )
    kept = {name: values[: n - 1] for name, values in last.items()}
    return kept | {"open": (is_open & ~ready)[: n - 1]}, row.encode(batch), ready.reshape(-1)
