"""Overhead: where the time went. Every member is, at each moment, training, queued for a slot, or waiting for others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from poptrain.core import Result, Task
from poptrain.log.reader import Record
from poptrain.views.facts import Facts

_BLUR = 0.002  # seconds: the log's clock ticks in milliseconds, so two tasks in a row may seem to overlap


@dataclass(frozen=True)
class LineTime:
    """One line of the log, and how long after the one before it was written."""

    kind: str  # tasks, results, lost
    facts: int  # how many it holds
    time: float  # seconds since 1970
    seconds: float  # since the line before, 0.0 for the first of a sitting


@dataclass(frozen=True)
class MemberTime:
    """How one member, or one evaluator, spent its time; in seconds, without overlaps."""

    member: int
    training: float
    saving: float
    queued: float  # decided, and not begun
    waiting: float  # for the others of the round
    deciding: float  # for its next task, when the last result it needs is there
    evaluator: bool


@dataclass(frozen=True)
class Overhead:
    """All in seconds. Member time is ``wall * members``, and splits into training, saving, queued and waiting (and a
    remainder: members not begun yet or finished early). Evaluators train and save too; that they idle is no waiting."""

    wall: float  # over all sittings
    members: int
    slots: int  # the most tasks that ever trained at the same time
    training: float  # of all together: the seconds that results took, without `saving`
    saving: float  # making checkpoints durable; 0 in logs of versions that did not measure it
    queued: float  # tasks that were decided, and not begun
    waiting: float  # members between a result and their next task: for the others of the round, or for a decision
    deciding: float  # from results to the tasks decided on them: `ask`, and making both durable
    share: float | None  # of the slots' time that was spent training and saving: (training + saving) / (wall * slots)
    tasks_per_second: float | None
    by_member: tuple[MemberTime, ...]
    lines: tuple[LineTime, ...] = field(repr=False)


def overhead(record: Record) -> Overhead:
    """Returns where the time of a run went."""
    facts = Facts.of(record)
    times = np.asarray(record.times, float)
    told = np.array([line for line in facts.told if line >= 0], int)
    ids = [id for id, line in enumerate(facts.told) if line >= 0]
    issued = np.array([facts.issued[id] for id in ids], int)
    spans = times[told] - times[issued] if len(ids) else np.zeros(0)
    seconds, savings = _durations(facts, ids, told, spans)
    wall, busy, saving = record.elapsed, float(seconds.sum()), float(savings.sum())
    queued = np.maximum(spans - seconds, 0)
    lines, gaps = _lines(record), _gaps(facts, times, _openings(record))
    slots = _slots(times[told] - seconds, times[told], issued, times) if len(ids) else 0
    return Overhead(
        wall=wall,
        members=len(facts.members()),
        slots=slots,
        training=busy - saving,
        saving=saving,
        queued=float(queued.sum()),
        waiting=float(sum(gap for id, gap in gaps if not facts.tasks[id].evaluator)),
        deciding=_deciding(lines),
        share=busy / (wall * slots) if wall > 0 and slots else None,
        tasks_per_second=len(ids) / wall if wall > 0 else None,
        by_member=_by_member(facts, ids, seconds - savings, savings, queued, gaps, lines),
        lines=lines,
    )


def _durations(facts: Facts, ids: list[int], told: np.ndarray, spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the seconds that each task took, and those of its saving.

    Members that were trained in one program share its time: each result holds an equal part. All of them were busy all
    the time, so the parts are put together again; they are known by being equal, in one line, and fitting in there.
    """
    results = [facts.results[id] for id in ids]
    together = Counter((line, result.seconds) for line, result in zip(told.tolist(), results, strict=True))
    seconds, savings = np.zeros(len(ids)), np.zeros(len(ids))
    for index, (line, result) in enumerate(zip(told.tolist(), results, strict=True)):
        lanes = together[line, result.seconds]
        lanes = lanes if lanes * result.seconds <= spans[index] + _BLUR else 1
        seconds[index], savings[index] = lanes * result.seconds, lanes * result.saving
    return seconds, savings


def _by_member(
    facts: Facts, ids: list[int], training: np.ndarray, saving: np.ndarray, queued: np.ndarray,
    gaps: list[tuple[int, float]], lines: tuple[LineTime, ...],
) -> tuple[MemberTime, ...]:  # fmt: skip
    parts = {seat: np.zeros(5) for seat in sorted(facts.seats)}
    for index, id in enumerate(ids):
        parts[facts.tasks[id].member][:3] += training[index], saving[index], queued[index]
    for id, gap in gaps:
        line = facts.issued[id]
        decided = min(gap, lines[line].seconds) if line and lines[line - 1].kind == "results" else 0.0
        parts[facts.tasks[id].member][3:] += gap - decided, decided
    members = set(facts.members())
    return tuple(MemberTime(seat, *map(float, row), seat not in members) for seat, row in parts.items())


def _slots(begin: np.ndarray, end: np.ndarray, issued: np.ndarray, times: np.ndarray) -> int:
    """Returns the most tasks that overlap; each takes its `seconds` up to the line of its result."""
    begin = np.minimum(np.maximum(begin, times[issued]) + _BLUR, end)
    moments = np.concatenate([begin, end])
    change = np.concatenate([np.ones(len(begin), int), -np.ones(len(end), int)])
    order = np.lexsort((change, moments))  # at one moment, ends come first
    return max(1, int(np.cumsum(change[order]).max()))


def _openings(record: Record) -> np.ndarray:
    return np.array([time for type, _, time in record.events if type == "open"], float)


def _gaps(facts: Facts, times: np.ndarray, opened: np.ndarray) -> list[tuple[int, float]]:
    """Returns the time between a seat's result and each next task, without the time when the run was not open.

    An evaluator's first task on a member has none before it: it was idle, and nobody waited.
    """
    ids = [id for id, before in enumerate(facts.previous) if before >= 0 and not _assigned(facts, id)]
    if not ids:
        return []
    told, issued = times[np.array([(facts.told[facts.previous[id]], facts.issued[id]) for id in ids], int)].T
    if len(opened):
        sitting = np.searchsorted(opened, issued, side="right") - 1
        told = np.maximum(told, opened[np.maximum(sitting, 0)])
    return list(zip(ids, np.maximum(issued - told, 0).tolist(), strict=True))


def _assigned(facts: Facts, id: int) -> bool:
    task, source = facts.tasks[id], facts.source(id)
    return task.evaluator and (source is None or facts.tasks[source].member != task.member)


def _lines(record: Record) -> tuple[LineTime, ...]:
    opened, found, before = list(_openings(record)), [], None
    sitting = 0
    for line, time in zip(record.lines, record.times, strict=True):
        while sitting < len(opened) and opened[sitting] <= time:
            sitting, before = sitting + 1, opened[sitting] if before is None or opened[sitting] > before else before
        kind = "tasks" if isinstance(line[0], Task) else "results" if isinstance(line[0], Result) else "lost"
        found.append(LineTime(kind, len(line), time, max(0.0, time - (time if before is None else before))))
        before = time
    return tuple(found)


def _deciding(lines: tuple[LineTime, ...]) -> float:
    return sum(line.seconds for before, line in zip(lines, lines[1:], strict=False)
               if line.kind == "tasks" and before.kind == "results")  # fmt: skip
