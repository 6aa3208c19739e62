"""Observation filter: running mean and variance of every feature, as RLlib's MeanStdFilter.

The statistics are ``{"mean": (O,), "var": (O,), "count": ()}``. They stand still while a batch is collected, so that the
policy that is learned from is the policy that acted, and take in the whole batch afterwards. The very first batch is the
exception: it is taken in before learning, because the first policy hardly depends on its input (see `networks`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from poptrain._jax import jnp

CLIP = 10.0  # standard deviations, as in RLlib
EPSILON = 1e-8


def init_normaliser(observation: int) -> dict[str, np.ndarray]:
    """Returns the statistics of nothing: mean 0, variance 1, count 0."""
    return {
        "mean": np.zeros(observation, np.float32),
        "var": np.ones(observation, np.float32),
        "count": np.float32(0.0),
    }


def normalise(statistics: dict[str, Any], columns: Any) -> Any:
    """Returns observations of shape (O, B) in standard deviations from the mean, clipped."""
    scale = 1.0 / jnp.sqrt(statistics["var"] + EPSILON)
    return jnp.clip((columns - statistics["mean"][:, None]) * scale[:, None], -CLIP, CLIP)


def merge(statistics: dict[str, Any], mean: Any, var: Any, count: Any) -> dict[str, Any]:
    """Returns the statistics of both samples together (Chan, Golub and LeVeque 1979)."""
    total = statistics["count"] + count
    share = count / jnp.maximum(total, 1.0)
    shift = mean - statistics["mean"]
    spread = statistics["var"] * (1.0 - share) + var * share + shift * shift * share * (1.0 - share)
    return {"mean": statistics["mean"] + shift * share, "var": spread, "count": total}
