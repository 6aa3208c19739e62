"""The interval between two decisions about a member: a number of steps, or a length of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from poptrain.core.arguments import is_finite
from poptrain.core.errors import UsageError


@dataclass(frozen=True)
class Seconds:
    """A length of time. As an interval, it ends each task after this time; such a run does not repeat bit for bit."""

    seconds: float

    def __post_init__(self) -> None:
        if not is_finite(self.seconds) or not self.seconds > 0:
            raise UsageError(f"seconds({self.seconds!r:.60}): expected a finite number above 0.")


Interval = int | Seconds  # steps, or a length of time


@runtime_checkable
class Paced(Protocol):
    """An `Algorithm` whose members report after intervals of one length. This is optional.

    The engine needs it for ``stop=pt.generations(n)``, and the preflight for its estimates.
    """

    @property
    def interval(self) -> Interval | None:
        """The length of an interval; None if it depends on the budget."""
        ...


def interval_of(algorithm: object) -> Interval | None:
    """Returns the interval of an algorithm; None if it has none."""
    return algorithm.interval if isinstance(algorithm, Paced) else None
