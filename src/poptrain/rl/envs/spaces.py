"""Spaces of host environments as numbers: any observation becomes one vector, an action is a vector or an index.

EnvPool and Gymnasium have spaces of the same form, from different packages, so they are recognised by the names of their classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from poptrain.core.errors import UsageError
from poptrain.rl.envs.spec import EnvSpec

NativeSpace = Any  # of Gymnasium, or of EnvPool in the same form
Observation = Any  # an array, a number, or a dict or tuple of them
COUNTED = 1 << 24  # the largest whole number up to which float32 has all of them


def spec_of(name: str, observation: NativeSpace, action: NativeSpace, horizon: int | None) -> EnvSpec:
    """Returns the spec of an environment with these spaces.

    Raises:
        UsageError: the action space is neither a Box nor Discrete, or one of the spaces is of another kind or without a number.
    """
    size = _size(name, observation)
    kind = type(action).__name__
    if kind not in ("Box", "Discrete"):
        raise UsageError(f"environment {name!r} has a {kind} action space; the agents of poptrain support Box and Discrete.")
    low, high = _bounds(action) if kind == "Box" else ((), ())
    actions = int(action.n) if kind == "Discrete" else len(low)
    for what, numbers in (("observations", size), ("actions", actions)):
        if not numbers:
            raise UsageError(
                f"environment {name!r}: its {what} consist of no numbers, so there is nothing to learn from or to do."
            )
    return EnvSpec(name, size, actions, kind == "Discrete", low, high, horizon, _pixels(observation))


def _bounds(space: NativeSpace) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the bounds of a Box; whole numbers so large that float32 does not count one by one have none."""
    low, high = (np.ravel(bound).astype(np.float64) for bound in (space.low, space.high))
    if np.issubdtype(space.dtype, np.integer):
        low, high = np.where(low < -COUNTED, -np.inf, low), np.where(high > COUNTED, np.inf, high)
    return tuple(low.tolist()), tuple(high.tolist())


def _pixels(space: NativeSpace) -> bool:
    """True if the observations are whole numbers from 0 to 255, or at least within exactly these bounds."""
    if hasattr(space, "spaces"):
        return all(map(_pixels, space.spaces.values() if isinstance(space.spaces, dict) else space.spaces))
    if type(space).__name__ != "Box":
        return True  # a discrete one becomes one-hot
    low, high = np.min(space.low, initial=255), np.max(space.high, initial=0)
    return bool((low >= 0 and high <= 255) if np.issubdtype(space.dtype, np.integer) else (low == 0 and high == 255))


def _size(name: str, space: NativeSpace) -> int:
    """Returns the number of features of a flattened observation of this environment."""
    if hasattr(space, "spaces"):
        inner = space.spaces.values() if isinstance(space.spaces, dict) else space.spaces
        return sum(_size(name, part) for part in inner)
    kind = type(space).__name__
    if kind == "Discrete":
        return int(space.n)
    if kind == "Box":
        return int(np.prod(space.shape))
    raise UsageError(
        f"environment {name!r}: an observation of a {kind} space cannot be flattened; supported are Box, Discrete, Dict and "
        "Tuple."
    )


def flat_observations(space: NativeSpace, values: Observation, n: int) -> np.ndarray:
    """Returns n observations as one float32 array of shape (n, O); a discrete one becomes one-hot."""
    if isinstance(values, np.ndarray) and type(space).__name__ == "Box":
        return values.reshape(n, -1).astype(np.float32, copy=False)
    if hasattr(space, "spaces"):
        keys = space.spaces.keys() if isinstance(space.spaces, dict) else range(len(space.spaces))
        return np.concatenate([flat_observations(space.spaces[key], values[key], n) for key in keys], axis=1)
    if type(space).__name__ == "Discrete":
        return np.eye(int(space.n), dtype=np.float32)[np.asarray(values, int).reshape(n) - first_element(space)]
    return np.asarray(values, np.float32).reshape(n, -1)


def first_element(space: NativeSpace) -> int:
    """Returns the number of the first element of a Discrete space: 0 unless the environment sets another."""
    return int(getattr(space, "start", 0))


def native_action(space: NativeSpace, action: np.ndarray) -> int | np.ndarray:
    """Returns one action, an index or (A,), as an environment with this action space takes it.

    Where the space has whole numbers, they are the nearest ones. Bounds that float32 does not hold exactly are kept.
    """
    if type(space).__name__ == "Discrete":
        return int(action) + first_element(space)
    action = np.asarray(action).reshape(space.shape)
    if np.issubdtype(space.dtype, np.integer):
        return np.clip(np.rint(action), space.low, space.high).astype(space.dtype)
    return np.minimum(np.maximum(action.astype(space.dtype), space.low), space.high)
