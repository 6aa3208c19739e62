"""Status: what a run is doing now, member by member."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from poptrain.core import Hparams, clock
from poptrain.log.reader import Record
from poptrain.views.exploits import Exploit, exploits_of
from poptrain.views.facts import Facts, Seat
from poptrain.views.format import clean, short
from poptrain.views.gauges import Gauges, gauges_of
from poptrain.views.lock_holder import Writer, writer_of
from poptrain.views.suggestions import Suggestion, newest

LAST = 5  # exploits that are shown
_NAMES = {"Pbt": "pbt", "FirePbt": "fire_pbt", "Independent": "independent members", "ScheduleReplay": "schedule replay"}
_STATES = {"open": "interrupted", "suspend": "suspended", "end": "finished", "failed": "failed"}


@dataclass(frozen=True)
class Member:
    """One seat. Score and step are those of the weights it holds: right after an exploit, its donor's."""

    member: int
    state: str  # training (or queued), waiting, finished, failed
    step: int
    score: float | None  # None: it holds no weights yet
    hparams: Hparams  # of its newest task
    tasks: int  # results so far
    failures: int  # of them failed or diverged, and checkpoints lost
    error: str | None  # the newest failure, one line
    cloned_from: int | None  # the member that it last copied
    cloned_at: int | None  # the lineage step of that


@dataclass(frozen=True)
class Best:
    """The best result of the run so far."""

    task: int
    member: int
    step: int
    score: float
    hparams: Hparams


@dataclass(frozen=True)
class Status:
    """The whole run. Scores have the user's sign; times are in seconds; a rate or time that is not known is None."""

    directory: str | None
    state: str  # running, finished, suspended, failed, interrupted (not ended, and nobody writes it)
    reason: str | None  # why it ended, was suspended or failed
    writer: Writer | None  # the process that writes it now
    algorithm: str
    trainable: str
    metric: str
    mode: str
    seed: int
    budget: int | None  # steps per member
    generation: int  # results that every member still in the run has
    generations: int | None
    best: Best | None
    members: tuple[Member, ...]
    evaluators: int  # seats that only measure members (FIRE PBT)
    tasks: int
    results: int
    failed: int
    diverged: int
    lost: int
    exploits: int
    last_exploits: tuple[Exploit, ...]  # newest last
    gauges: Gauges  # selection, greediness, diversity
    last_suggestions: tuple[Suggestion, ...]  # of the newest round that had some: what the model (PB2) expected
    steps: int  # trained by all members together
    steps_per_second: float | None  # recently
    steps_per_second_overall: float | None
    elapsed: float  # over all sittings
    left: float | None
    warnings: tuple[str, ...]


def status(record: Record) -> Status:
    """Returns the status of a run as its record was read."""
    return status_of(record, Facts.of(record))


def status_of(record: Record, facts: Facts) -> Status:
    """Returns the status by facts of one's own: for a follower in another thread than the run's."""
    run = record.run
    state, reason = _state(record)
    writer = writer_of(record) if state == "interrupted" else None
    if writer is not None or (state == "interrupted" and record.directory is None):
        state = "running"
    elapsed, budget = record.elapsed, record.budget
    if writer is not None:
        elapsed += max(0.0, clock.now() - _last(record))
    members = tuple(_member(facts, seat, facts.seats[seat], budget) for seat in facts.members())
    recent, overall = _speed(record, facts), facts.steps / elapsed if elapsed > 0 and facts.steps else None
    return Status(
        directory=None if record.directory is None else str(record.directory),
        state=state,
        reason=reason,
        writer=writer,
        algorithm=_name(run.get("algorithm")),
        trainable=str(run.get("trainable", "")),
        metric=str(run.get("metric", "score")),
        mode=str(run.get("mode", "max")),
        seed=run.get("seed", 0),
        budget=budget,
        generation=_generation(facts),
        generations=_generations(budget, run.get("interval")),
        best=None if facts.best is None else _best(facts, facts.best),
        members=members,
        evaluators=len(facts.seats) - len(members),
        tasks=len(facts.tasks),
        results=facts.reported,
        failed=facts.failed,
        diverged=facts.diverged,
        lost=len(facts.lost),
        exploits=len(facts.exploits),
        last_exploits=exploits_of(facts, record.times, facts.exploits[-LAST:]),
        gauges=gauges_of(record, facts),
        last_suggestions=newest(facts),
        steps=facts.steps,
        steps_per_second=recent,
        steps_per_second_overall=overall,
        elapsed=elapsed,
        left=_left(facts, members, budget, run.get("stop"), elapsed, recent or overall, state),
        warnings=_warnings(record, facts),
    )


def _state(record: Record) -> tuple[str, str | None]:
    for type, fields, _ in reversed(record.events):
        if type in _STATES:
            return _STATES[type], fields.get("reason")
    return "interrupted", None


def _last(record: Record) -> float:
    """Returns when the newest line was written."""
    return max(record.times[-1:] + [time for _, _, time in record.events[-1:]], default=0.0)


def _member(facts: Facts, number: int, seat: Seat, budget: int | None) -> Member:
    head, standing = seat.head, facts.standing(number)
    step = facts.begin(head) if standing is None else facts.end(standing)
    if facts.results[head] is None:
        state = "training"
    elif not facts.ok(head):
        state = "failed"
    else:
        state = "finished" if budget is not None and max(step, seat.spent) >= budget else "waiting"
    return Member(
        member=number,
        state=state,
        step=step,
        score=None if standing is None else facts.results[standing].score,
        hparams=dict(facts.tasks[head].hparams),
        tasks=seat.done,
        failures=seat.failures,
        error=seat.error,
        cloned_from=None if seat.cloned is None else facts.donor(seat.cloned),
        cloned_at=None if seat.cloned is None else facts.begin(seat.cloned),
    )


def _best(facts: Facts, id: int) -> Best:
    task, result = facts.tasks[id], facts.results[id]
    return Best(id, task.member, result.step, result.score, dict(task.hparams))


def _generation(facts: Facts) -> int:
    seats = [facts.seats[seat] for seat in facts.members()]  # evaluators may be idle
    alive = [seat.done for seat in seats if facts.results[seat.head] is None or facts.ok(seat.head)]
    return min(alive or [seat.done for seat in seats], default=0)


def _generations(budget: int | None, interval: Any) -> int | None:
    whole = isinstance(interval, int) and not isinstance(interval, bool) and interval > 0
    return ceil(budget / interval) if whole and budget is not None else None


def _speed(record: Record, facts: Facts) -> float | None:
    """Returns the steps per second over the newest lines of the newest sitting."""
    opened = next((time for type, _, time in reversed(record.events) if type == "open"), 0.0)
    began, steps, _ = facts.speed[0]
    if began < opened:
        began, steps = opened, [entry[1] for entry in facts.speed if entry[0] < opened][-1]
    now, trained, _ = facts.speed[-1]
    return (trained - steps) / (now - began) if now > began else None


def _left(
    facts: Facts, members: tuple[Member, ...], budget: int | None, stop: Any, elapsed: float,
    speed: float | None, state: str,
) -> float | None:  # fmt: skip
    if state in ("finished", "failed"):
        return None
    times = [max(limit - elapsed, 0.0) for limit in _limits(stop)]
    if budget is not None and speed:
        going = [member for member in members if member.state in ("training", "waiting")]
        steps = sum(max(budget - max(member.step, facts.seats[member.member].spent), 0) for member in going)
        times.append(steps / speed)
    return min(times, default=None)


def _limits(stop: Any) -> list[float]:
    """Returns the time limits in the description of a stop condition."""
    if not isinstance(stop, Mapping):
        return []
    if stop.get("type") == "Seconds":
        return [float(stop["seconds"])]
    return [limit for condition in stop.get("conditions", ()) for limit in _limits(condition)]


def _name(algorithm: Any) -> str:
    """Returns the name of an algorithm from its description: a function, or a dataclass."""
    name = algorithm.get("name") or algorithm.get("type", "") if isinstance(algorithm, Mapping) else str(algorithm or "")
    return _NAMES.get(name, name)


def _warnings(record: Record, facts: Facts) -> tuple[str, ...]:
    found = []
    for type, fields, _ in record.events:
        if type == "warning":
            found.append(str(fields.get("text", "")))
        elif type == "recovered":
            found.append(f"a torn last line ({fields.get('bytes')} bytes) was cut off and kept in {fields.get('file')}")
    for id in sorted(facts.lost):
        task, result = facts.tasks[id], facts.results[id]
        found.append(f"the checkpoint of task {id} (member {task.member}, step {result.step}) was damaged: it counts as failed")
    bad = facts.failed + facts.diverged
    if facts.best is None and facts.reported:
        why = next((seat.error for seat in facts.seats.values() if seat.error), "no score was finite")
        found.append(f"no result has been healthy yet: {why}")
    elif bad >= 4 and bad * 4 > facts.reported:
        found.append(f"{short(100 * bad / facts.reported)} % of the results failed or diverged")
    return tuple(clean(text, 400) for text in found)
