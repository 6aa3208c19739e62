"""Adam (arXiv 1412.6980) on one flat vector, with the learning rate as an argument of every step.

The state holds no hyperparameter, so a clone that gets a new learning rate trains with it at once.
"""

from __future__ import annotations

import numpy as np

from poptrain._jax import jax, jnp
from poptrain.rl.trees import Array, Parts, Tree

BETA1, BETA2 = 0.9, 0.999
ADAM_EPSILON = 1e-5  # as in the PPO reference code


def init_adam(size: int) -> Parts:
    """Returns zero moments for `size` parameters, and a step count."""
    return {"m": np.zeros(size, np.float32), "v": np.zeros(size, np.float32), "count": np.int32(0)}


def adam_step(state: Parts, params: Array, gradient: Array, lr: Array) -> tuple[Parts, Array]:
    """Returns the next state and parameters.

    Args:
        params, gradient: flat vectors, shape (size,).
        lr: learning rate, shape ().
    """
    count = state["count"] + 1
    m = BETA1 * state["m"] + (1.0 - BETA1) * gradient
    v = BETA2 * state["v"] + (1.0 - BETA2) * gradient * gradient
    t = count.astype(jnp.float32)
    scale = lr * jnp.sqrt(1.0 - BETA2**t) / (1.0 - BETA1**t)
    return {"m": m, "v": v, "count": count}, params - scale * m / (jnp.sqrt(v) + ADAM_EPSILON)


def init_tree_adam(params: Tree) -> Parts:
    """Returns zero moments for a tree of parameters, and a step count."""
    return {
        "m": jax.tree.map(lambda x: np.zeros(x.shape, np.float32), params),
        "v": jax.tree.map(lambda x: np.zeros(x.shape, np.float32), params),
        "count": np.int32(0),
    }


def tree_adam_step(state: Parts, params: Tree, gradient: Tree, lr: Array, epsilon: float = 1e-8) -> tuple[Parts, Tree]:
    """Returns the next state and parameters of a tree: for large networks, whose parts are not worth copying together."""
    count = state["count"] + 1
    m = jax.tree.map(lambda m, g: BETA1 * m + (1.0 - BETA1) * g, state["m"], gradient)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1.0 - BETA2) * g * g, state["v"], gradient)
    t = count.astype(jnp.float32)
    scale, root = lr / (1.0 - BETA1**t), 1.0 / jnp.sqrt(1.0 - BETA2**t)
    params = jax.tree.map(lambda p, m, v: p - scale * m / (jnp.sqrt(v) * root + epsilon), params, m, v)
    return {"m": m, "v": v, "count": count}, params
