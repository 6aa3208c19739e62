"""Overhead: where the time went. Every member is, at each moment, training, queued for a slot, or waiting for others."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from poptrain.core import Result, Task
from poptrain.record import Record
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
    lines: tuple[LineTime, ...] = field(repr=False)


def overhead(record: Record) -> Overhead:
    """Returns where the time of a run went."""
    facts = Facts.of(record)
    times = np.asarray(record.times, float)
    told = np.array([line for line in facts.told if line >= 0], int)
    ids = [id for id, line in enumerate(facts.told) if line >= 0]
    seconds = np.array([facts.results[id].seconds for id in ids])
    issued = np.array([facts.issued[id] for id in ids], int)
    wall, busy = record.elapsed, float(seconds.sum())
    saving = float(sum(facts.results[id].saving for id in ids))
    spans = times[told] - times[issued] if len(ids) else np.zeros(0)
    lines = _lines(record)
    slots = _slots(times[told] - seconds, times[told], issued, times) if len(ids) else 0
    return Overhead(
        wall=wall,
        members=len(facts.members()),
        slots=slots,
        training=busy - saving,
        saving=saving,
        queued=float(np.maximum(spans - seconds, 0).sum()),
        waiting=_waiting(facts, times, _openings(record)),
        deciding=_deciding(lines),
        share=busy / (wall * slots) if wall > 0 and slots else None,
        tasks_per_second=len(ids) / wall if wall > 0 else None,
        lines=lines,
    )


def _slots(begin: np.ndarray, end: np.ndarray, issued: np.ndarray, times: np.ndarray) -> int:
    """Returns the most tasks that overlap; each takes its `seconds` up to the line of its result."""
    begin = np.minimum(np.maximum(begin, times[issued]) + _BLUR, end)
    moments = np.concatenate([begin, end])
    change = np.concatenate([np.ones(len(begin), int), -np.ones(len(end), int)])
    order = np.lexsort((change, moments))  # at one moment, ends come first
    return max(1, int(np.cumsum(change[order]).max()))


def _openings(record: Record) -> np.ndarray:
    return np.array([time for type, _, time in record.events if type == "open"], float)


def _waiting(facts: Facts, times: np.ndarray, opened: np.ndarray) -> float:
    """Returns the time between a seat's results and its next tasks, without the time when the run was not open."""
    pairs = [
        (facts.told[before], facts.issued[id])
        for id, before in enumerate(facts.previous)
        if before >= 0 and not facts.tasks[id].evaluator
    ]
    if not pairs:
        return 0.0
    told, issued = times[np.array(pairs, int)].T
    if len(opened):
        sitting = np.searchsorted(opened, issued, side="right") - 1
        told = np.maximum(told, opened[np.maximum(sitting, 0)])
    return float(np.maximum(issued - told, 0).sum())


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
