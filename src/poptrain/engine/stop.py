"""Stop conditions: steps, generations, a score, a length of time, or the first of several."""

from __future__ import annotations

from dataclasses import dataclass

from poptrain.core import History
from poptrain.core.answering import answering
from poptrain.core.arguments import as_whole, is_finite
from poptrain.core.errors import UsageError
from poptrain.core.interval import Interval, Seconds
from poptrain.core.wellformed import MAX_WHOLE


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
    """The run ends when a result is at least as good as this score (in the user's sign)."""

    score: float


@dataclass(frozen=True)
class AnyOf:
    """The run ends when the first of its conditions holds."""

    conditions: tuple[Stop, ...]


Stop = Steps | Generations | Score | Seconds | AnyOf


@answering
def steps(n: int) -> Steps:
    """Returns the condition that every member has trained n steps."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n < MAX_WHOLE:
        raise UsageError(f"steps({n!r:.60}): expected a whole number from 1, and below 2**53.{as_whole(n)}")
    return Steps(n)


@answering
def generations(n: int) -> Generations:
    """Returns the condition that every member has trained n intervals."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n < MAX_WHOLE:
        raise UsageError(f"generations({n!r:.60}): expected a whole number from 1, and below 2**53.{as_whole(n)}")
    return Generations(n)


@answering
def score(x: float) -> Score:
    """Returns the condition that a member reached the score x (under ``mode="min"``: a score of x or less)."""
    if not is_finite(x):
        raise UsageError(f"score({x!r:.60}): expected a finite number.")
    return Score(float(x))


@answering
def seconds(s: float) -> Seconds:
    """Returns a length of time: as `stop`, of the whole run with all its sessions; as `interval`, of one task."""
    return Seconds(s)


@answering
def any_of(*conditions: Stop) -> AnyOf:
    """Returns the condition that holds as soon as one of `conditions` does."""
    if not conditions:
        raise UsageError("any_of(): expected at least one condition, for example any_of(pt.steps(100), pt.seconds(3600)).")
    if len(conditions) == 1 and isinstance(conditions[0], (list, tuple)):
        raise UsageError(
            "any_of: got one list instead of conditions; write any_of(*[…]), or any_of(pt.steps(100), pt.score(0.9))."
        )
    for condition in conditions:
        check_stop(condition)
    return AnyOf(conditions)


def check_stop(stop: object) -> Stop:
    """Returns `stop` if it is a stop condition.

    Raises:
        UsageError: it is something else.
    """
    if not isinstance(stop, Stop):
        raise UsageError(f"stop={stop!r}: expected pt.steps(n), pt.generations(n), pt.score(x), pt.seconds(s) or pt.any_of(…).")
    return stop


def budget(stop: Stop, interval: Interval | None) -> int | None:
    """Returns the steps per lineage that `stop` allows, or None if only a score or a time ends the run.

    Raises:
        UsageError: the condition counts generations, and the interval is not a number of steps.
    """
    if isinstance(stop, Steps):
        return stop.steps
    if isinstance(stop, Generations):
        if not isinstance(interval, int):
            raise UsageError(
                "stop=pt.generations(n) needs an interval in steps. If the interval is pt.seconds(s), use stop=pt.seconds(s)."
            )
        return stop.generations * interval
    if isinstance(stop, AnyOf):
        budgets = [b for condition in stop.conditions if (b := budget(condition, interval)) is not None]
        return min(budgets, default=None)
    return None


def reached(stop: Stop | None, history: History, elapsed: float) -> str | None:
    """Returns why the run ends now; None if it goes on, as it always does without a stop condition.

    `elapsed` is in seconds over all sessions of the run. The budget in steps is not checked: algorithms keep to it.
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
