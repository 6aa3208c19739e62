"""Pace: how fast a run trains, and which of its tasks take too long."""

from __future__ import annotations

from collections.abc import Mapping

from poptrain.core import clock
from poptrain.core.counting import counted
from poptrain.core.waiting import limit_of, sentence, usual_of
from poptrain.log.reader import Record
from poptrain.views.state import RunState

MOST_OVERDUE = 3  # members with an overdue task that are listed


def speed_of(record: Record, state: RunState, silent: bool = False) -> float | None:
    """Returns the steps per second over the newest lines of the newest session.

    Once every seat has reported an interval, the start is left out: starting workers and compiling say nothing about what is
    left. Evaluations before training are a part of it.

    Args:
        silent: count also how long the run has been silent now, beyond what its tasks usually take: perhaps it has become slower.
    """
    opened = _opened(record)
    session = [entry for entry in state.speed if entry[0] >= opened]
    began, steps = state.speed[0][:2]
    if began < opened:
        _, steps, results = [entry for entry in state.speed if entry[0] < opened][-1]
        began = opened
        results = max([results, *(entry[2] for entry in session if entry[1] == steps)])
        warm = next((entry for entry in session if entry[2] >= results + len(state.seats)), None)
        if warm is not None and warm[2] < session[-1][2]:
            began, steps = warm[:2]
    now, trained, _ = state.speed[-1]
    if silent and (usual := usual_of(state.waits)) is not None:
        now = max(now, clock.now() - usual)
    return (trained - steps) / (now - began) if now > began else None


def limits(stop: object) -> list[float]:
    """Returns the time limits in the description of a stop condition."""
    if not isinstance(stop, Mapping):
        return []
    if stop.get("type") == "Seconds":
        return [float(stop["seconds"])]
    return [limit for condition in stop.get("conditions", ()) for limit in limits(condition)]


def overdue(record: Record, state: RunState) -> list[str]:
    """Returns a sentence for each member whose task takes ten times as long as usual; as `engine.watch` finds them."""
    now, opened = clock.now(), _opened(record)
    waits, durations = usual_of(state.waits), usual_of(state.durations)
    pending = sorted((max(seat.since, opened), number) for number, seat in state.seats.items() if seat.pending)
    late = [(number, now - since, waits) for since, number in pending if now - since > limit_of(waits)]
    if not late and pending and now - max(state.time, opened) > limit_of(durations):
        since, number = pending[0]
        late = [(number, now - max(state.time, since), durations)]
    texts = [sentence(*each) for each in late[:MOST_OVERDUE]]
    return texts + [f"overdue too: {counted(len(late) - MOST_OVERDUE, 'other member')}"] * (len(late) > MOST_OVERDUE)


def _opened(record: Record) -> float:
    """Returns when the newest session began; 0 if none has."""
    return next((time for type, _, time in reversed(record.events) if type == "open"), 0.0)
