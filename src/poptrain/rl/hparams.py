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
from poptrain.core.warned import warn_user
from poptrain.space import Choice, Ordinal, Space

SOMEWHERE = 0.382  # in a range: unlike the middle, hardly ever a whole number by chance
PopulationHparams = Mapping[str, ArrayLike]  # tuned ones: one value per member, shape (P,), or one for all


LARGEST = float(np.finfo(np.float32).max)  # programs compute with float32


class Range(NamedTuple):
    """The allowed values of a hyperparameter, both ends included; `integer` ones are rounded."""

    low: float
    high: float = LARGEST  # infinity only where it means something, as for a limit that is switched off
    integer: bool = False
    raise_it: str = ""  # what to do if a value is too high


ENDLESS = Range(0.0, float("inf"))  # of a limit, which may be none
ANY = Range(-LARGEST)


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
    columns = {name: _column(name, hparams.get(name, getattr(agent, name)), ranges[name], members) for name in ranges}
    for name, column in columns.items():
        if name not in hparams and ranges[name].integer and (column != getattr(agent, name)).any():
            raise UsageError(f"{type(agent).__name__}: {name}={getattr(agent, name)!r}, expected a whole number.")
    return columns


def check_space(resolve: Callable[[PopulationHparams, int], Mapping[str, np.ndarray]], space: Space) -> None:
    """Raises a `UsageError` if an agent does not have a hyperparameter, or refuses an end of its range or an option.

    Warns of values that are rounded: the log would have others than those in force.

    Args:
        resolve: the agent's own `resolve_hparams`.
        space: what is tuned. One with a function `repair` may never give the ends: only its names are checked.
    """
    middle = {name: parameter.decode(SOMEWHERE) for name, parameter in space.items()}
    resolved = resolve(middle, 1)
    for name, parameter in space.items() if space.repair is None else ():
        for value in parameter.grid(parameter.levels if isinstance(parameter, (Choice, Ordinal)) else 2):
            resolve(middle | {name: value}, 1)
        if name in resolved and np.issubdtype(resolved[name].dtype, np.integer) and resolved[name][0] != middle[name]:
            warn_user(
                f"{name} is a whole number: {middle[name]:.6g} would be logged, and trained as {resolved[name][0]}. "
                f"Declare {name} as pt.Int(low, high) or pt.LogInt(low, high)."
            )


def _column(name: str, value: ArrayLike, allowed: Range, members: int) -> np.ndarray:
    try:
        given = np.asarray(value)
        if given.dtype.kind not in "iuf":  # numpy would read texts and flags as numbers
            raise TypeError
        values = np.broadcast_to(given.astype(np.float64), (members,))
    except (TypeError, ValueError):
        each = f", or one for each of the {counted(members, 'member')}" if members > 1 else ""
        raise UsageError(f"{name}={value!r}: expected a number{each}.") from None
    if allowed.integer:
        values = np.rint(values)
    outside = ~((values >= allowed.low) & (values <= allowed.high))
    if outside.any():
        fix = allowed.raise_it if values[outside][0] > allowed.high else ""
        if allowed.high == LARGEST:
            expected = "a finite number" if allowed.low == -LARGEST else f"a finite number from {allowed.low:g}"
        else:
            expected = f"at most {allowed.high:g}" if allowed.low == -LARGEST else f"within [{allowed.low:g}, {allowed.high:g}]"
        raise UsageError(f"{name}={values[outside][0]:g} is not {expected}.{fix}")
    return values.astype(np.int32 if allowed.integer else np.float32)


def of_member(hparams: Mapping[str, np.ndarray], member: int) -> dict[str, np.generic]:
    """Returns one member's hyperparameters as numpy scalars."""
    return {name: values[member] for name, values in hparams.items()}
