"""Hyperparameters of an agent: those that are tuned come as arrays, the rest are the agent's own defaults.

All of them reach the compiled program as traced numbers, so changing one never compiles anything anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from poptrain.core.errors import UsageError, did_you_mean


class Range(NamedTuple):
    """Where a hyperparameter may lie, both ends included; `integer` ones are rounded."""

    low: float
    high: float = float("inf")
    integer: bool = False


def resolve(agent: Any, ranges: Mapping[str, Range], hparams: Mapping[str, Any], members: int) -> dict[str, np.ndarray]:
    """Returns every hyperparameter as an array of shape (members,), float32 or int32.

    Args:
        agent: holds a default under each name.
        ranges: all hyperparameters that the agent has.
        hparams: the tuned ones, one value per member or one for all.

    Raises:
        UsageError: an unknown name, a value out of range or not a number.
    """
    for name in hparams:
        if name not in ranges:
            raise UsageError(
                f"{type(agent).__name__} has no hyperparameter {name!r}.{did_you_mean(name, ranges)} It has: {', '.join(ranges)}."
            )
    return {name: _column(agent, name, ranges[name], hparams, members) for name in ranges}


def _column(agent: Any, name: str, range: Range, hparams: Mapping[str, Any], members: int) -> np.ndarray:
    given = hparams.get(name, getattr(agent, name))
    try:
        values = np.broadcast_to(np.asarray(given, np.float64), (members,))
    except (TypeError, ValueError):
        raise UsageError(f"{name}={given!r}: expected a number, or one for each of the {members} members.") from None
    if range.integer:
        values = np.rint(values)
    outside = ~((values >= range.low) & (values <= range.high))
    if outside.any():
        fix = " Raise max_batch to allow more." if name == "train_batch_size" and values[outside][0] > range.high else ""
        raise UsageError(f"{name}={values[outside][0]:g} is not within [{range.low:g}, {range.high:g}].{fix}")
    return values.astype(np.int32 if range.integer else np.float32)


def of_member(hparams: Mapping[str, np.ndarray], member: int) -> dict[str, np.generic]:
    """Returns one member's hyperparameters as numpy scalars."""
    return {name: values[member] for name, values in hparams.items()}
