"""The value network speaks in standard deviations of the returns that it met last (PopArt, arXiv 1602.07714).

Rewards may be of any size: without this, a value loss of thousands would use up the gradient's norm and the policy would
hardly move. When the scale changes, the last layer changes with it, so that no value does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from poptrain._jax import jnp


def init_value_scale() -> dict[str, np.ndarray]:
    """Returns the scale of outputs that are values: mean 0, standard deviation 1."""
    return {"mean": np.float32(0.0), "std": np.float32(1.0)}


def in_units(scale: dict[str, Any], output: Any) -> Any:
    """Returns the values, in units of reward, that outputs of the network stand for."""
    return scale["mean"] + scale["std"] * output


def rescale(
    scale: dict[str, Any], layers: list[dict[str, Any]], mean: Any, std: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the scale of returns with this mean and deviation, and the network whose values are as before it."""
    std = jnp.maximum(std, jnp.maximum(1e-2 * jnp.abs(mean), 1e-6))  # constant returns say nothing about their spread
    last = {
        "w": layers[-1]["w"] * (scale["std"] / std),  # eq. (9) of PopArt
        "b": (scale["std"] * layers[-1]["b"] + scale["mean"] - mean) / std,
    }
    return {"mean": mean, "std": std}, [*layers[:-1], last]
