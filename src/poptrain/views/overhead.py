"""Overhead: where the time went. At each moment, a member is training, queued for a slot, or waiting for other members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from poptrain.core import History, Result, Task
from poptrain.core.brief import in_lines
from poptrain.core.gathered import Bools, Ints
from poptrain.log.reader import Record
from poptrain.views.columns import results, sources
from poptrain.views.index import history_of, reported
from poptrain.views.sources import of_run

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

    __repr__ = in_lines


@of_run
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
    lines, (later, gaps) = _lines(record, history), _gaps(history, times, _openings(record))
    idle = ~_evaluators(history)[later]
    slots = _slots(times[told] - seconds, times[told], times[issued]) if ids else 0
    return Overhead(
        wall=wall,
        members=len(history.members()),
        slots=slots,
        training=busy - saving,
        saving=saving,
        queued=float(queued.sum()),
        waiting=float(gaps[idle].sum()),
        deciding=_deciding(lines),
        share=busy / (wall * slots) if wall > 0 and slots else None,
        tasks_per_second=len(ids) / wall if wall > 0 else None,
        by_member=_by_member(history, ids, (seconds - savings, savings, queued), later, gaps, lines),
        lines=lines,
    )


def _durations(history: History, ids: list[int], told: np.ndarray, spans: Times) -> tuple[Times, Times]:
    """Returns the seconds that each task took, and those of its saving; shape (n,) each.

    Members that were trained in one program share its time, and each result holds an equal part. All of them were busy all
    the time, so the parts are added up again. Such results are equal, in one line, and their sum fits in the time that passed.
    """
    found = results(history)
    own = [result for id in ids if (result := found[id]) is not None]
    each, saving = (np.array([getattr(result, name) for result in own], float) for name in ("seconds", "saving"))
    _, group, sizes = np.unique(told + 1j * each, return_inverse=True, return_counts=True)  # of equal seconds in one line
    lanes = np.where(sizes[group] * each <= spans + _BLUR, sizes[group], 1)
    return lanes * each, lanes * saving


def _by_member(
    history: History,
    ids: Sequence[int],
    spent: Sequence[Times],
    later: Ints,
    gaps: Times,
    lines: tuple[LineTime, ...],
) -> tuple[MemberTime, ...]:
    """Returns the time of each seat.

    Args:
        history: of the run.
        ids: the tasks with a result.
        spent: their training, saving and queued time.
        later: the tasks that another of their seat came before.
        gaps: the time between the two.
        lines: of the log.
    """
    decisions = np.zeros(len(lines))  # how long each line took, if it decided on results
    for number, (before, line) in enumerate(zip(lines, lines[1:], strict=False), 1):
        decisions[number] = line.seconds if before.kind == "results" else 0.0
    decided = np.minimum(gaps, decisions[history.column("issued")[later]])
    member, width = history.column("member"), len(history.heads())
    parts = [np.bincount(member[ids], each, width) for each in spent]
    parts += [np.bincount(member[later], each, width) for each in (gaps - decided, decided)]
    members = set(history.members())
    found = []
    for seat in np.flatnonzero(history.heads() >= 0).tolist():
        role = "member" if seat in members else history.task(history.head(seat)).role
        found.append(MemberTime(seat, *(float(part[seat]) for part in parts), role))
    return tuple(found)


def _slots(begin: Times, end: Times, issued: Times) -> int:
    """Returns the most tasks that overlap; each took its `seconds` until the line of its result."""
    begin = np.minimum(np.maximum(begin, issued) + _BLUR, end)
    moments = np.concatenate([begin, end])
    change = np.concatenate([np.ones(len(begin), int), -np.ones(len(end), int)])
    order = np.lexsort((change, moments))  # at one moment, ends come first
    return max(1, int(np.cumsum(change[order]).max()))


def _openings(record: Record) -> Times:
    return np.array([time for type, _, time in record.events if type == "open"], float)


def _gaps(history: History, times: Times, opened: Times) -> tuple[Ints, Times]:
    """Returns the tasks before which their seat had another, and the time between, without that when the run was not open.

    The first task of an evaluator on a member is left out: the evaluator was idle before it.
    """
    member, source = history.column("member"), sources(history)
    moved = (source < 0) | (member[source] != member)
    later = np.flatnonzero((history.column("prev") >= 0) & ~(_evaluators(history) & moved))
    issued = times[history.column("issued")[later]]
    told = times[history.column("told")[history.column("prev")[later]]]
    if len(opened):
        session = np.searchsorted(opened, issued, side="right") - 1
        told = np.maximum(told, opened[np.maximum(session, 0)])
    return later, np.maximum(issued - told, 0)


def _evaluators(history: History) -> Bools:
    """Returns which tasks measure a member; shape (n,), bool."""
    return np.fromiter((history.task(id).evaluator for id in range(history.n)), bool, history.n)


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
