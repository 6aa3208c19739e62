"""Overhead: where the time went. At each moment, a member is training, queued for a slot, or waiting for other members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from poptrain.core import History, Result, Task
from poptrain.core.brief import brief
from poptrain.log.reader import Record
from poptrain.views.index import history_of, reported

_BLUR = 0.002  # seconds: the log's clock has milliseconds, so two tasks one after the other may seem to overlap
Times = np.ndarray


@dataclass(frozen=True)
class LineTime:
    """One line of the log, and how long after the line before it was written."""

    kind: str  # tasks, results, lost
    facts: int  # how many it holds
    time: float  # seconds since 1970
    seconds: float  # since the line before; since the opening for the first line of a session


@dataclass(frozen=True)
class MemberTime:
    """How one seat spent its time; in seconds, without overlaps."""

    member: int
    training: float
    saving: float
    queued: float  # decided, and not started
    waiting: float  # for the other members of the round
    deciding: float  # for its next task, when the last result that the decision needs is there
    role: str  # of the seat: member, evaluator or candidate


@dataclass(frozen=True)
class Overhead:
    """All in seconds.

    Member time is ``wall * members``. It splits into training, saving, queued and waiting; the remainder belongs to members
    that have not started or finished early. Evaluators train and save too; their idle time does not count as waiting.
    """

    wall: float  # over all sessions
    members: int
    slots: int  # the most tasks that ever trained at the same time
    training: float  # of all together: the seconds that results took, without `saving`
    saving: float  # making checkpoints durable; 0 in logs of versions that did not measure it
    queued: float  # tasks that were decided, and not started
    waiting: float  # members between a result and their next task: for the others of the round, or for a decision
    deciding: float  # from results to the tasks decided on them: `ask`, and making both durable
    share: float | None  # of the slots' time that was spent training and saving: (training + saving) / (wall * slots)
    tasks_per_second: float | None
    by_member: tuple[MemberTime, ...]
    lines: tuple[LineTime, ...] = field(repr=False)

    __repr__ = brief


def overhead(record: Record) -> Overhead:
    """Returns where the time of a run went."""
    history = history_of(record)
    times = np.asarray(record.times[: history.lines], float)
    ids = reported(history)
    told, issued = (history.column(name)[ids] for name in ("told", "issued"))
    spans = times[told] - times[issued]
    seconds, savings = _durations(history, ids, told, spans)
    wall, busy, saving = record.elapsed, float(seconds.sum()), float(savings.sum())
    queued = np.maximum(spans - seconds, 0)
    lines, gaps = _lines(record, history), _gaps(history, times, _openings(record))
    slots = _slots(times[told] - seconds, times[told], times[issued]) if ids else 0
    return Overhead(
        wall=wall,
        members=len(history.members()),
        slots=slots,
        training=busy - saving,
        saving=saving,
        queued=float(queued.sum()),
        waiting=float(sum(gap for id, gap in gaps.items() if not history.task(id).evaluator)),
        deciding=_deciding(lines),
        share=busy / (wall * slots) if wall > 0 and slots else None,
        tasks_per_second=len(ids) / wall if wall > 0 else None,
        by_member=_by_member(
            history, dict(zip(ids, zip(seconds - savings, savings, queued, strict=True), strict=True)), gaps, lines
        ),
        lines=lines,
    )


def _durations(history: History, ids: list[int], told: np.ndarray, spans: Times) -> tuple[Times, Times]:
    """Returns the seconds that each task took, and those of its saving; shape (n,) each.

    Members that were trained in one program share its time, and each result holds an equal part. All of them were busy all
    the time, so the parts are added up again. Such results are equal, in one line, and their sum fits in the time that passed.
    """
    results = [result for id in ids if (result := history.result(id)) is not None]
    together = Counter((line, result.seconds) for line, result in zip(told.tolist(), results, strict=True))
    seconds, savings = np.zeros(len(ids)), np.zeros(len(ids))
    for index, (line, result) in enumerate(zip(told.tolist(), results, strict=True)):
        lanes = together[line, result.seconds]
        lanes = lanes if lanes * result.seconds <= spans[index] + _BLUR else 1
        seconds[index], savings[index] = lanes * result.seconds, lanes * result.saving
    return seconds, savings


def _by_member(
    history: History,
    spent: Mapping[int, tuple[float, float, float]],
    gaps: Mapping[int, float],
    lines: tuple[LineTime, ...],
) -> tuple[MemberTime, ...]:
    """Returns the time of each seat; `spent` holds training, saving and queued by task, `gaps` what passed before it."""
    parts = {seat: np.zeros(5) for seat in np.flatnonzero(history.heads() >= 0).tolist()}
    for id, each in spent.items():
        parts[history.task(id).member][:3] += each
    for id, gap in gaps.items():
        line = history.issued(id)
        decided = min(gap, lines[line].seconds) if line and lines[line - 1].kind == "results" else 0.0
        parts[history.task(id).member][3:] += gap - decided, decided
    members = set(history.members())
    roles = {seat: "member" if seat in members else history.task(history.head(seat)).role for seat in parts}
    rows = ((seat, row.tolist()) for seat, row in parts.items())
    return tuple(MemberTime(seat, a, b, c, d, e, roles[seat]) for seat, (a, b, c, d, e) in rows)


def _slots(begin: Times, end: Times, issued: Times) -> int:
    """Returns the most tasks that overlap; each took its `seconds` until the line of its result."""
    begin = np.minimum(np.maximum(begin, issued) + _BLUR, end)
    moments = np.concatenate([begin, end])
    change = np.concatenate([np.ones(len(begin), int), -np.ones(len(end), int)])
    order = np.lexsort((change, moments))  # at one moment, ends come first
    return max(1, int(np.cumsum(change[order]).max()))


def _openings(record: Record) -> Times:
    return np.array([time for type, _, time in record.events if type == "open"], float)


def _gaps(history: History, times: Times, opened: Times) -> dict[int, float]:
    """Returns the time between a seat's result and each next task, without the time when the run was not open.

    The first task of an evaluator on a member is left out: the evaluator was idle before it.
    """
    ids = [id for id in range(history.n) if history.previous(id) >= 0 and not _assigned(history, id)]
    issued = times[history.column("issued")[ids]]
    told = times[history.column("told")[history.column("prev")[ids]]]
    if len(opened):
        session = np.searchsorted(opened, issued, side="right") - 1
        told = np.maximum(told, opened[np.maximum(session, 0)])
    return dict(zip(ids, np.maximum(issued - told, 0).tolist(), strict=True))


def _assigned(history: History, id: int) -> bool:
    task, source = history.task(id), history.source(id)
    return task.evaluator and (source is None or history.task(source).member != task.member)


def _lines(record: Record, history: History) -> tuple[LineTime, ...]:
    opened, found = _openings(record).tolist(), []
    before: float | None = None
    session = 0
    for number in range(history.lines):
        line, time = history.line(number), record.times[number]
        while session < len(opened) and opened[session] <= time:
            before = opened[session] if before is None else max(before, opened[session])
            session += 1
        kind = "tasks" if isinstance(line[0], Task) else "results" if isinstance(line[0], Result) else "lost"
        found.append(LineTime(kind, len(line), time, 0.0 if before is None else max(0.0, time - before)))
        before = time
    return tuple(found)


def _deciding(lines: tuple[LineTime, ...]) -> float:
    pairs = zip(lines, lines[1:], strict=False)
    return sum(line.seconds for before, line in pairs if line.kind == "tasks" and before.kind == "results")
