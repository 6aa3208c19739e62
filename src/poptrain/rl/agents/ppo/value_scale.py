"""The outputs of the value network are in standard deviations of the latest returns (PopArt, arXiv 1602.07714).

Rewards may be of any size. Without this scale, a value loss of thousands would use up the norm of the gradient, and the policy
would hardly change. When the scale changes, the last layer changes with it, so that every value stays the same.
"""

from __future__ import annotations

import numpy as np

from poptrain._jax import jnp
from poptrain.rl.nets import Layers
from poptrain.rl.trees import Array, Parts


def init_value_scale() -> Parts:
    """Returns the scale at which outputs are values: mean 0, standard deviation 1."""
    return {"mean": np.float32(0.0), "std": np.float32(1.0)}


def in_units(scale: Parts, output: Array) -> Array:
    """Returns the values, in units of reward, of outputs of the network."""
    return scale["mean"] + scale["std"] * output


def rescale(scale: Parts, layers: Layers, mean: Array, std: Array) -> tuple[Parts, Layers]:
    """Returns the scale of returns with this mean and deviation, and the network with unchanged values."""
    std = jnp.maximum(std, jnp.maximum(1e-2 * jnp.abs(mean), 1e-6))  # the spread of constant returns is unknown
    last = {
        "w": layers[-1]["w"] * (scale["std"] / std),  # eq. (9) of PopArt
        "b": (scale["std"] * layers[-1]["b"] + scale["mean"] - mean) / std,
    }
    return {"mean": mean, "std": std}, [*layers[:-1], last]
