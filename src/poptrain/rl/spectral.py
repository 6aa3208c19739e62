"""Spectral normalisation (arXiv 1802.05957): a layer computes with its weights divided by their largest singular value.

A layer that is normalised holds, next to its weights ``"w"`` (inputs, outputs), an estimate ``"u"`` (outputs,) of their first
right singular vector. Its presence is the flag, so a network computes in the same way wherever it is used: in acting, learning,
evaluation and distillation, in JAX and in numpy. The optimiser leaves `u` alone, because its gradient is zero; `refreshed` moves
it after every update. Output layers are not normalised.
"""

from __future__ import annotations

import numpy as np

from poptrain._jax import jax, jnp
from poptrain.rl.trees import Array, Parts

REFRESHES = 4  # steps of the power iteration after an update
SMALLEST = 1e-12


def first_direction(w: np.ndarray) -> np.ndarray:
    """Returns the first right singular vector of weights (inputs, outputs); shape (outputs,)."""
    direction: np.ndarray = np.linalg.svd(w, full_matrices=False)[2][0]
    return direction.astype(np.float32)


def effective(layer: Parts) -> Array:
    """Returns the weights that a layer computes with, (inputs, outputs)."""
    if "u" not in layer:
        return layer["w"]
    w, u = layer["w"], jax.lax.stop_gradient(layer["u"])
    left, right = jax.lax.stop_gradient(_step(w, u))
    return w / jnp.maximum(left @ w @ right, SMALLEST)  # the gradient flows through the singular value, as in eq. (12)


def effective_on_host(layer: Parts) -> np.ndarray:
    """Returns what `effective` returns, in numpy."""
    w: np.ndarray = np.asarray(layer["w"])
    if "u" not in layer:
        return w
    left = w @ np.asarray(layer["u"])
    left = left / np.maximum(np.linalg.norm(left), np.float32(SMALLEST))
    return w / np.maximum(np.linalg.norm(left @ w), np.float32(SMALLEST))


def refreshed(layers: list[Parts]) -> list[Parts]:
    """Returns the layers with the directions moved to where the weights are now."""

    def moved(layer: Parts) -> Parts:
        u = layer["u"]
        for _ in range(REFRESHES):
            u = _step(layer["w"], u)[1]
        return layer | {"u": u}

    return [moved(layer) if "u" in layer else layer for layer in layers]


def _step(w: Array, u: Array) -> tuple[Array, Array]:
    """Returns the singular vectors (inputs,), (outputs,) after one step of the power iteration, eq. (8) and (9)."""
    left = w @ u
    left = left / jnp.maximum(jnp.linalg.norm(left), SMALLEST)
    right = left @ w
    return left, right / jnp.maximum(jnp.linalg.norm(right), SMALLEST)
