"""Hyperparameters of an agent: the tuned ones arrive as arrays, the others have the agent's own values.

All of them reach the compiled program as traced numbers, so a new value never compiles anything again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from poptrain.core.counting import counted
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.space import Choice, Ordinal, Space

PopulationHparams = Mapping[str, ArrayLike]  # tuned ones: one value per member, shape (P,), or one for all


class Range(NamedTuple):
    """The allowed values of a hyperparameter, both ends included; `integer` ones are rounded."""

    low: float
    high: float = float("inf")
    integer: bool = False


def resolve_hparams(
    agent: object, ranges: Mapping[str, Range], hparams: PopulationHparams, members: int, others: Iterable[str] = ()
) -> dict[str, np.ndarray]:
    """Returns every hyperparameter as an array of shape (members,), float32 or int32.

    Args:
        agent: holds a default under each name.
        ranges: all hyperparameters that the agent has.
        hparams: the tuned ones.
        others: names of hyperparameters that are resolved elsewhere, for messages.

    Raises:
        UsageError: an unknown name, a value out of range or not a number.
    """
    for name in hparams:
        if name not in ranges:
            raise UsageError(
                f"{type(agent).__name__} has no hyperparameter {name!r}.{did_you_mean(name, [*ranges, *others])} "
                f"Its hyperparameters are {', '.join([*ranges, *others])}."
            )
    return {name: _column(name, hparams.get(name, getattr(agent, name)), ranges[name], members) for name in ranges}


def check_space(resolve: Callable[[PopulationHparams, int], object], space: Space) -> None:
    """Raises a `UsageError` if an agent does not have a hyperparameter, or refuses an end of its range or an option.

    Args:
        resolve: the agent's own `resolve_hparams`.
        space: what is tuned. One with a function `repair` may never give the ends: only its names are checked.
    """
    middle = {name: parameter.decode(0.5) for name, parameter in space.items()}
    resolve(middle, 1)
    for name, parameter in space.items() if space.repair is None else ():
        for value in parameter.grid(parameter.levels if isinstance(parameter, (Choice, Ordinal)) else 2):
            resolve(middle | {name: value}, 1)


def _column(name: str, value: ArrayLike, allowed: Range, members: int) -> np.ndarray:
    try:
        values = np.broadcast_to(np.asarray(value, np.float64), (members,))
    except (TypeError, ValueError):
        raise UsageError(f"{name}={value!r}: expected a number, or one for each of the {counted(members, 'member')}.") from None
    if allowed.integer:
        values = np.rint(values)
    outside = ~((values >= allowed.low) & (values <= allowed.high))
    if outside.any():
        fix = " Raise max_batch to allow more." if name == "train_batch_size" and values[outside][0] > allowed.high else ""
        raise UsageError(f"{name}={values[outside][0]:g} is not within [{allowed.low:g}, {allowed.high:g}].{fix}")
    return values.astype(np.int32 if allowed.integer else np.float32)


def of_member(hparams: Mapping[str, np.ndarray], member: int) -> dict[str, np.generic]:
    """Returns one member's hyperparameters as numpy scalars."""
    return {name: values[member] for name, values in hparams.items()}
