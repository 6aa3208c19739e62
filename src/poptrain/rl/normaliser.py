"""Observation filter: the running mean and variance of every feature, as in RLlib's MeanStdFilter.

The statistics are ``{"mean": (O,), "var": (O,), "count": ()}``. They do not change while a batch is collected, so that the
policy that is trained is the policy that acted; afterwards the whole batch is added to them. The very first batch is the
exception: it is added before learning, because the first policy hardly depends on its input (see `nets`).
"""

from __future__ import annotations

import numpy as np

from poptrain._jax import jnp
from poptrain.rl.trees import Array, Parts

CLIP_AT = 10.0  # standard deviations, as in RLlib
VARIANCE_EPSILON = 1e-8


def init_normaliser(observation: int) -> Parts:
    """Returns the statistics of an empty sample of `observation` features: mean 0, variance 1, count 0."""
    return {
        "mean": np.zeros(observation, np.float32),
        "var": np.ones(observation, np.float32),
        "count": np.float32(0.0),
    }


def normalise(statistics: Parts, columns: Array) -> Array:
    """Returns observations of shape (O, B) in standard deviations from the mean, clipped."""
    scale = 1.0 / jnp.sqrt(statistics["var"] + VARIANCE_EPSILON)
    return jnp.clip((columns - statistics["mean"][:, None]) * scale[:, None], -CLIP_AT, CLIP_AT)


def merge(statistics: Parts, mean: Array, var: Array, count: Array) -> Parts:
    """Returns the statistics of two samples together (Chan, Golub and LeVeque 1979).

    Args:
        statistics: of the first sample.
        mean, var: of the second sample, shape (O,).
        count: size of the second sample.
    """
    total = statistics["count"] + count
    share = count / jnp.maximum(total, 1.0)
    shift = mean - statistics["mean"]
    spread = statistics["var"] * (1.0 - share) + var * share + shift * shift * share * (1.0 - share)
    return {"mean": statistics["mean"] + shift * share, "var": spread, "count": total}
