"""When a run ends: steps, generations, a score, time, or the first of several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from poptrain.algorithms.parts.turns import Seconds
from poptrain.core import History
from poptrain.core.errors import UsageError


@dataclass(frozen=True)
class Steps:
    """Every member is trained to this many steps along its lineage."""

    steps: int


@dataclass(frozen=True)
class Generations:
    """Every member is trained for this many intervals."""

    generations: int


@dataclass(frozen=True)
class Score:
    """The run ends when a result is at least as good as this (in the user's sign)."""

    score: float


@dataclass(frozen=True)
class AnyOf:
    """The run ends when the first of its conditions holds."""

    conditions: tuple[Any, ...]


Stop = Steps | Generations | Score | Seconds | AnyOf


def steps(n: int) -> Steps:
    """Returns the condition: n steps per member."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise UsageError(f"steps({n!r}): expected a whole number from 1.")
    return Steps(n)


def generations(n: int) -> Generations:
    """Returns the condition: n intervals per member."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise UsageError(f"generations({n!r}): expected a whole number from 1.")
    return Generations(n)


def score(x: float) -> Score:
    """Returns the condition: a member reached x (or fell to it, under ``mode="min"``)."""
    if isinstance(x, bool) or not isinstance(x, (int, float)) or x != x:
        raise UsageError(f"score({x!r}): expected a number.")
    return Score(float(x))


def seconds(s: float) -> Seconds:
    """Returns a length of time: as `stop`, of the whole run (over all its sittings); as `interval`, of one task."""
    return Seconds(s)


def any_of(*conditions: Stop) -> AnyOf:
    """Returns the condition that holds as soon as one of `conditions` does."""
    if not conditions:
        raise UsageError("any_of(): expected at least one condition, for example any_of(pt.steps(100), pt.seconds(3600)).")
    for condition in conditions:
        check(condition)
    return AnyOf(conditions)


def check(stop: Any) -> Stop:
    """Returns `stop` if it is a condition.

    Raises:
        UsageError: it is something else.
    """
    if not isinstance(stop, Stop):
        raise UsageError(f"stop={stop!r}: expected pt.steps(n), pt.generations(n), pt.score(x), pt.seconds(s) or pt.any_of(…).")
    return stop


def budget(stop: Stop, interval: Any) -> int | None:
    """Returns the steps per lineage that `stop` allows, or None if only a score or the time ends the run.

    Raises:
        UsageError: generations of an algorithm whose interval is a length of time.
    """
    if isinstance(stop, Steps):
        return stop.steps
    if isinstance(stop, Generations):
        if not isinstance(interval, int):
            raise UsageError("stop=pt.generations(n) needs an interval in steps; with pt.seconds as interval use pt.seconds.")
        return stop.generations * interval
    if isinstance(stop, AnyOf):
        budgets = [b for condition in stop.conditions if (b := budget(condition, interval)) is not None]
        return min(budgets, default=None)
    return None


def reached(stop: Stop, history: History, elapsed: float) -> str | None:
    """Returns why the run ends now, or None; `elapsed` is in seconds over all sittings of the run.

    The budget in steps is not looked at here: algorithms keep it.
    """
    if isinstance(stop, AnyOf):
        return next((why for condition in stop.conditions if (why := reached(condition, history, elapsed))), None)
    if isinstance(stop, Seconds) and elapsed >= stop.seconds:
        return f"{stop.seconds:g} seconds have passed"
    if isinstance(stop, Score):
        best = history.best()
        if best is not None and history.score(best) >= history.sign * stop.score:
            return f"the score reached {stop.score:g}"
    return None
