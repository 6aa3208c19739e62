"""Schedule: the hyperparameters over the steps that led to a result, as a plain training loop can replay them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, TypedDict

from poptrain.core import History, Hparams, Value, markup
from poptrain.core.arguments import plain
from poptrain.core.brief import in_lines
from poptrain.core.counting import counted
from poptrain.core.errors import PoptrainError, UsageError
from poptrain.log.backwards import REFUSED, Ancestor, Unusual, ancestors
from poptrain.log.disk import FS, default
from poptrain.log.reader import Record, read
from poptrain.views.as_json import as_json, dumps
from poptrain.views.columns import ends
from poptrain.views.digest import digested
from poptrain.views.format import cell, short
from poptrain.views.index import about, chosen, chosen_at_end, history_of, score_of
from poptrain.views.sources import of_run

MOST_ROWS = 20  # segments that a notebook shows


@dataclass(frozen=True)
class Segment:
    """Constant hyperparameters from one step to another."""

    start: int
    end: int
    hparams: Hparams
    task: int  # the first that trained with them
    member: int  # the seat of that

    __repr__ = in_lines


@dataclass(frozen=True, repr=False)
class Schedule:
    """The hyperparameters of one ancestry: piecewise constant, from step 0, with strictly increasing starts."""

    task: int
    member: int
    step: int  # where it ends
    score: float | None  # None: pending, failed or lost
    metric: str
    mode: str
    segments: tuple[Segment, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The hyperparameters."""
        return tuple(self.segments[0].hparams) if self.segments else ()

    def at(self, step: int) -> dict[str, Value]:
        """Returns the hyperparameters that training used after `step` steps; after the end, the last ones.

        Raises:
            UsageError: the step is negative, or nothing was trained.
        """
        step = plain(step)
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise UsageError(f"at({step!r}): expected a whole number of steps from 0.")
        if not self.segments:
            raise UsageError(f"at({step}): the schedule is empty, because nothing was trained before task {self.task}.")
        return dict(next(segment for segment in reversed(self.segments) if segment.start <= step).hparams)

    def __repr__(self) -> str:
        changes, score = max(len(self.segments) - 1, 0), "" if self.score is None else f", {self.metric} {short(self.score, 5)}"
        length = f"{counted(changes, 'change')} over {counted(self.step, 'step')}"
        return f"Schedule({', '.join(self.names)}: {length}{score}, of task {self.task})"

    def _repr_html_(self) -> str:
        rows = [
            (f"{segment.start:,}", f"{segment.end:,}", *(short(value) for value in segment.hparams.values()))
            for segment in self.segments
        ]
        shown = rows if len(rows) <= MOST_ROWS else [*rows[: MOST_ROWS // 2], ["…"], *rows[-(MOST_ROWS // 2) :]]
        return markup.block(repr(self), markup.table(("from step", "to step", *self.names), shown))

    def rows(self) -> Iterator[dict[str, Value]]:
        """Yields one flat dict for each segment: start, end, task, member and the hyperparameters by name."""
        for s in self.segments:
            row: dict[str, Value] = {"start": s.start, "end": s.end, "task": s.task, "member": s.member}
            row.update({f"hparams.{name}" if name in row else name: value for name, value in s.hparams.items()})
            yield row

    def to_csv(self) -> str:
        """Returns the rows as CSV with a header; floats are exact, texts that look like a formula are quoted."""
        text, rows = io.StringIO(), list(self.rows())
        header = rows[0] if rows else ("start", "end", "task", "member")
        table = csv.writer(text, lineterminator="\n")
        table.writerow([cell(name) for name in header])
        table.writerows([cell(value) for value in row.values()] for row in rows)
        return text.getvalue()

    def to_json(self) -> str:
        """Returns the schedule as one strict JSON object with exact numbers."""
        return dumps({"schedule": 1, **as_json(self)})


class WrittenSchedule(TypedDict):
    """A schedule as JSON."""

    schedule: Literal[1]  # the format
    task: int
    member: int
    step: int
    score: float | None
    metric: str
    mode: str
    segments: tuple[Segment, ...]


@of_run
def schedule(record: Record, task: int | None = None) -> Schedule:
    """Returns the hyperparameters over the steps that led to a task; default: to the best result.

    Raises:
        UsageError: there is no such task, or no healthy result yet.
    """
    history = history_of(record)
    return schedule_of(history, record, chosen(record, history, task))


def schedule_in(directory: Path | str, task: int | None = None, fs: FS = default) -> Schedule:
    """Returns `schedule` of the run in a directory.

    Where a digest confirms the whole log of a long run, only the ancestry is decoded, from the end of the log.

    Raises:
        UsageError: the directory holds no run, the run has not got the task, or nothing healthy has been reported yet.
        LogDamaged: a line in the middle is bad.
    """
    try:
        return _from_the_end(directory, task, fs)
    except (Unusual, PoptrainError, *REFUSED):  # reading the whole log says what is wrong
        return schedule(read(directory, fs), task)


def _from_the_end(directory: Path | str, task: int | None, fs: FS) -> Schedule:
    found = digested(directory, fs)
    if found is None:
        raise Unusual("this log has not got a digest")
    record, state = found
    if record.refresh() or record.torn:
        raise Unusual("the log is longer than its digest")
    id = task
    if id is None and (id := state.best) is not None and (known := chosen_at_end(record)) is not None:
        id = known[0]
    if type(id) is not int or not 0 <= id < state.tasks:
        raise Unusual("the digest does not know the task")
    line, score = ancestors(record.home, record.segment, record.offset, id, fs)
    if score is None and task is None:
        raise Unusual("the best result was lost")
    return _along(line, record, score)


@of_run
def schedules(record: Record) -> tuple[Schedule, ...]:
    """Returns the schedule of what every member ended with, by seat."""
    history = history_of(record)
    return tuple(schedule_of(history, record, id, seat) for seat, id in history.finals().items())


def schedule_from(path: Path) -> Schedule:
    """Returns the schedule in a JSON file that `export` or ``schedule --json`` wrote.

    Raises:
        UsageError: the file cannot be read, or does not contain a schedule.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        segments = tuple(Segment(**{field.name: row[field.name] for field in fields(Segment)}) for row in data["segments"])
        found = Schedule(**{field.name: data[field.name] for field in fields(Schedule)} | {"segments": segments})
    except OSError as error:
        raise UsageError(f"cannot read the schedule {str(path)!r}: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{str(path)!r} is not a schedule: expected the JSON file that `poptrain schedule DIR --json` prints, or the file "
            "schedule.json of `poptrain export DIR --best OUT`."
        ) from error
    edges = [0, *(segment.end for segment in segments)]
    if [segment.start for segment in segments] != edges[:-1] or found.step != edges[-1] or edges != sorted(set(edges)):
        raise UsageError(f"{str(path)!r} has gaps: its segments do not follow each other from step 0 to {found.step!r}.")
    return found


def schedule_of(history: History, record: Record, id: int, member: int | None = None) -> Schedule:
    """Returns the schedule of one ancestry."""
    descent = history.descent(id)
    tasks = zip(map(history.task, descent), ends(history, descent).tolist(), strict=True)
    line = [Ancestor(task.id, task.member, task.hparams, end) for task, end in tasks]
    return _along(line, record, score_of(history, id) if history.ok(id) else None, member)


def _along(line: Sequence[Ancestor], record: Record, score: float | None, member: int | None = None) -> Schedule:
    """Returns the schedule of an ancestry, whose last task has this score."""
    firsts: list[Ancestor] = []  # of each segment
    edges = [0]
    for task in line:
        if task.end <= edges[-1]:  # it only evaluated
            continue
        if firsts and same(firsts[-1].hparams, task.hparams):
            edges[-1] = task.end
        else:
            firsts.append(task)
            edges.append(task.end)
    bounds = zip(firsts, edges, edges[1:], strict=False)
    segments = [Segment(start, end, dict(task.hparams), task.id, task.member) for task, start, end in bounds]
    metric, mode = about(record)
    return Schedule(
        task=line[-1].id,
        member=line[-1].member if member is None else member,
        step=line[-1].end,
        score=score,
        metric=metric,
        mode=mode,
        segments=tuple(segments),
    )


def same(a: Hparams, b: Hparams) -> bool:
    """True if two configurations are equal, types included: 1, 1.0 and True are three values."""
    return a is b or (a == b and [type(a[name]) for name in a] == [type(b[name]) for name in a])
