"""Adam (arXiv 1412.6980) on one flat vector, with the learning rate as an argument of every step.

Nothing of the hyperparameters is kept in the state, so a clone that got a new learning rate trains with it at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from poptrain._jax import jnp

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-5  # epsilon: as in the PPO reference code


def init_adam(size: int) -> dict[str, np.ndarray]:
    """Returns zero moments for `size` parameters and a step count."""
    return {"m": np.zeros(size, np.float32), "v": np.zeros(size, np.float32), "count": np.int32(0)}


def adam_step(state: dict[str, Any], params: Any, gradient: Any, lr: Any) -> tuple[dict[str, Any], Any]:
    """Returns the next state and parameters; all vectors have shape (size,)."""
    count = state["count"] + 1
    m = BETA1 * state["m"] + (1.0 - BETA1) * gradient
    v = BETA2 * state["v"] + (1.0 - BETA2) * gradient * gradient
    t = count.astype(jnp.float32)
    scale = lr * jnp.sqrt(1.0 - BETA2**t) / (1.0 - BETA1**t)
    return {"m": m, "v": v, "count": count}, params - scale * m / (jnp.sqrt(v) + EPSILON)
