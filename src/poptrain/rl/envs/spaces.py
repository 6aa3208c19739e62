"""Spaces of host environments as numbers: any observation becomes one vector, an action is a vector or an index."""

from __future__ import annotations

from typing import Any

import numpy as np

from poptrain.core.errors import UsageError
from poptrain.rl.envs.spec import EnvSpec


def describe(name: str, observation: Any, action: Any, horizon: int | None) -> EnvSpec:
    """Returns the spec of an environment with these Gymnasium-like spaces.

    Raises:
        UsageError: the action space is neither a box nor discrete.
    """
    size = _size(observation)
    kind = type(action).__name__
    if kind == "Discrete":
        return EnvSpec(name, size, int(action.n), True, horizon=horizon)
    if kind == "Box":
        low, high = (tuple(float(x) for x in np.ravel(bound)) for bound in (action.low, action.high))
        return EnvSpec(name, size, len(low), False, low, high, horizon)
    raise UsageError(f"env {name!r} has a {kind} action space; agents here know Box and Discrete ones.")


def _size(space: Any) -> int:
    if hasattr(space, "spaces"):
        inner = space.spaces.values() if isinstance(space.spaces, dict) else space.spaces
        return sum(_size(part) for part in inner)
    if type(space).__name__ == "Discrete":
        return int(space.n)
    if type(space).__name__ == "Box":
        return int(np.prod(space.shape))
    raise UsageError(f"cannot flatten a {type(space).__name__} observation; Box, Discrete, Dict and Tuple are known.")


def flatten(space: Any, values: Any, n: int) -> np.ndarray:
    """Returns n observations as one float32 array of shape (n, O); a discrete one becomes one-hot."""
    if isinstance(values, np.ndarray) and type(space).__name__ == "Box":
        return values.reshape(n, -1).astype(np.float32, copy=False)
    if hasattr(space, "spaces"):
        keys = space.spaces.keys() if isinstance(space.spaces, dict) else range(len(space.spaces))
        return np.concatenate([flatten(space.spaces[key], values[key], n) for key in keys], axis=1)
    if type(space).__name__ == "Discrete":
        start = int(getattr(space, "start", 0))
        return np.eye(int(space.n), dtype=np.float32)[np.asarray(values, int).reshape(n) - start]
    return np.asarray(values, np.float32).reshape(n, -1)
