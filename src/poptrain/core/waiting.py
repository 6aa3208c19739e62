"""When is a task overdue? One rule for the run, which sees its tasks, and for `status`, which sees the log."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

TIMES = 10  # a task that takes this many times as long as usual is overdue
LEAST = 60.0  # seconds that no task needs to explain
UNKNOWN = 600.0  # seconds for a task of a run that has no results yet


def usual_of(durations: Iterable[float]) -> float | None:
    """Returns the median of some durations in seconds; None if there are none."""
    known = list(durations)
    return median(known) if known else None


def limit_of(usual: float | None) -> float:
    """Returns after how many seconds a task is overdue."""
    return UNKNOWN if usual is None else max(LEAST, TIMES * usual)


def sentence(member: int, waited: float, usual: float | None) -> str:
    """Returns what a person reads about an overdue task.

    >>> sentence(3, 312.4, 30.0)
    'member 3: no result for 312 s, 10 times its usual 30 s'
    >>> sentence(0, 700.0, None)
    'member 0: no result for 700 s, and none before'
    """
    about = "and none before" if usual is None else f"{waited / max(usual, 1e-3):.0f} times its usual {usual:.2g} s"
    return f"member {member}: no result for {waited:.0f} s, {about}"
