"""Checks of what an agent is made with besides its hyperparameters: the sizes of its networks, batches and memories.

A size that is ignored would be a silent mistake, so an agent also refuses those that it has no use for.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from typing import Protocol

from poptrain.core.errors import UsageError

LARGEST = 1 << 30


class Sized(Protocol):
    """An agent, a frozen dataclass."""

    @property
    def hidden(self) -> tuple[int, ...]:
        """The sizes of the hidden layers."""
        ...

    @property
    def horizon(self) -> int | None:
        """The longest episode in steps; None: the environment's own limit."""
        ...


def check_sizes(agent: Sized, limits: Mapping[str, tuple[int, int]], unused: Mapping[str, str] = {}) -> None:
    """Raises a `UsageError` if a field of an agent that is a size is not a whole number within its limits.

    Whole numbers of other types, such as those of numpy, become those of Python, and `hidden` becomes a tuple.

    Args:
        limits: the least and the greatest value of each field.
        unused: fields without an effect, and why; only their defaults are accepted.
    """
    name = type(agent).__name__
    object.__setattr__(agent, "hidden", check_layers(name, "hidden", agent.hidden))
    if agent.horizon is not None:
        object.__setattr__(agent, "horizon", _whole(name, "horizon", agent.horizon, 1, LARGEST))
    for field, (low, high) in limits.items():
        object.__setattr__(agent, field, _whole(name, field, getattr(agent, field), low, high))
    for field, why in unused.items():
        if getattr(agent, field) != getattr(type(agent), field):  # the default
            raise UsageError(f"{name}: {field}={getattr(agent, field)!r} would have no effect, because {why}. Leave out {field}.")


def check_layers(agent: str, name: str, sizes: object) -> tuple[int, ...]:
    """Returns the sizes of layers as a tuple; raises a `UsageError` unless they are whole numbers from 1."""
    if not isinstance(sizes, Collection) or isinstance(sizes, (str, bytes, Mapping)):
        raise UsageError(f"{agent}: {name}={sizes!r:.60}, expected the size of every hidden layer, such as (64, 64).")
    return tuple(_whole(agent, f"{name}[{i}]", size, 1, LARGEST) for i, size in enumerate(sizes))


def _whole(agent: str, name: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, bool) and hasattr(value, "__index__") and low <= (whole := operator.index(value)) <= high:
        return whole
    raise UsageError(f"{agent}: {name}={value!r:.60}, expected a whole number from {low} to {high}.")
