"""The time. No other module asks the system for it, so that a fake clock can replace it here and no test has to sleep.

`monotonic` and `sleep` are for logic (timeouts, intervals, back-off). `now` and `utc` are the wall clock, which may jump, so
they are for display only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime


class Clock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class FakeClock(Clock):
    """A clock that stands still until it is advanced. Sleeping advances it and returns immediately.

    >>> with use(FakeClock()) as clock:
    ...     sleep(3.0)
    ...     clock.jump(-86400.0)  # the wall clock was set back a day
    ...     monotonic()
    3.0
    """

    def __init__(self, wall: float = 1.8e9):
        self._elapsed, self._wall = 0.0, wall

    def monotonic(self) -> float:
        return self._elapsed

    def now(self) -> float:
        return self._wall

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Moves both clocks forward."""
        self._elapsed += seconds
        self._wall += seconds

    def jump(self, seconds: float) -> None:
        """Moves the wall clock, as a user or a time server would; monotonic time is not affected."""
        self._wall += seconds


_clock = Clock()


@contextmanager
def use(clock: Clock) -> Iterator[Clock]:
    """Replaces the clock of this process inside a ``with`` block."""
    global _clock
    previous, _clock = _clock, clock
    try:
        yield clock
    finally:
        _clock = previous


def monotonic() -> float:
    """Returns seconds since an arbitrary start; they never run backwards."""
    return _clock.monotonic()


def now() -> float:
    """Returns wall time in seconds since 1970; for display only."""
    return _clock.now()


def sleep(seconds: float) -> None:
    """Waits for a number of seconds."""
    _clock.sleep(seconds)


def utc(seconds: float | None = None) -> str:
    """Returns wall time as ``2026-11-21T09:30:57.123Z``; by default the current time.

    >>> utc(0.25)
    '1970-01-01T00:00:00.250Z'
    """
    at = datetime.fromtimestamp(now() if seconds is None else seconds, UTC)
    return at.isoformat(timespec="milliseconds")[:-6] + "Z"


def parse_utc(text: str) -> float:
    """Returns the seconds since 1970 of a time that `utc` wrote.

    >>> parse_utc(utc(1.5))
    1.5
    """
    return datetime.fromisoformat(text).timestamp()
