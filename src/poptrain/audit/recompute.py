"""Reads a log from its first line: is every fact possible, and does the algorithm take every decision again?

Before a line of tasks, ``ask`` of the history so far must equal the line; before a line of results it must be ``()``. The
exception is a run that no longer asks: after its stop condition, and while it is being suspended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from poptrain.core import History, Json, Line, Lost, Result, Task, maximised, results_of, tasks_of
from poptrain.core.counting import counted
from poptrain.core.protocols import Algorithm
from poptrain.core.rng import task_seed
from poptrain.core.wellformed import malformed
from poptrain.log.finding import segment_name
from poptrain.log.notes import COMPLETE
from poptrain.log.reader import Record
from poptrain.space import Space


class TraceEntry(NamedTuple):
    """One line of the log, with its place: facts, or administration."""

    number: int  # in the run, from 0
    place: str  # file and line
    type: str  # of administration; "" for facts
    fields: Mapping[str, Json]  # of administration; {} for facts
    line: Line | None  # the facts; None for administration
    sound: bool  # the reader knows that each of the facts is well-formed


class Trace(Record):
    """A record that keeps administration and facts in the order in which they were written."""

    def __init__(self, directory: Path | None = None):
        super().__init__(directory)
        self.order = None  # `walk` reports the first fact that is impossible, instead of an unreadable log
        self.entries: list[TraceEntry] = []

    def note(self, type: str, data: Json, time: float, line: Line | None = None) -> None:
        """Adds facts, or administration."""
        known = data if line is None and isinstance(data, Mapping) else {}
        self._trace(self.seq, self.number, "" if line is not None else type, known, line, sound=False)
        super().note(type, data, time, line)

    def _take_entries(self, entries: list[Json], crcs: list[int]) -> int:
        seq, number = self.seq, self.number
        taken = super()._take_entries(entries, crcs)
        for index, line in enumerate(self.lines[len(self.lines) - taken :]):
            self._trace(seq + index, number + index, "", {}, line, sound=True)
        return taken

    def _trace(self, seq: int, number: int, type: str, fields: Mapping[str, Json], line: Line | None, *, sound: bool) -> None:
        self.entries.append(TraceEntry(seq, f"{segment_name(self.segment)} line {number + 1}", type, fields, line, sound))


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    line: int | None  # the number of the line in the run, from 0; None: it is not about a line
    place: str  # file and line
    task: int | None
    field: str
    got: object  # in the log
    expected: object
    text: str  # one sentence


@dataclass
class Walk:
    """The results of a walk so far."""

    decisions: int = 0  # lines of tasks that were recomputed
    tasks: int = 0
    results: int = 0
    facts: Finding | None = None  # the first impossible fact
    difference: Finding | None = None  # the first decision that the algorithm takes differently
    differing: int = 0  # number of such lines
    history: History | None = None


def walk(trace: Trace, algorithm: Algorithm | None, space: Space | None, keyed: bool) -> Walk:
    """Returns the first impossible fact, and the first decision that the algorithm takes differently.

    Args:
        trace: the log.
        algorithm: takes the decisions again; None: they are not checked.
        space: must contain the hyperparameters; None if it is unknown.
        keyed: the seed of a task follows from its id. False for a replay, whose tasks may have seeds of their own.
    """
    found = Walk()
    sign = -1 if trace.run.get("mode") == "min" else 1
    history = History(trace.run.get("seed", 0), trace.run.get("budget"), sign)
    after_lost = False
    for entry, asking in _asking(trace.entries):
        if entry.type == "budget":
            history = history.with_budget(entry.fields.get("budget"))
        if entry.line is not None:
            line = entry.line
            if not entry.sound and (wrong := next(filter(None, map(malformed, line)), None)) is not None:
                text = f"{entry.place}: {wrong.field}={wrong.got!r}, expected {wrong.expected}."
                found.facts = found.facts or _finding(entry, None, *wrong, text)
                return found  # the lines after it do not make a history
            line = maximised(line, sign)
            found.facts = found.facts or _impossible(entry, history, line, space, keyed)
            if algorithm is not None and not after_lost:
                asked = _asked(found, entry, algorithm, history)
                if asked is None:
                    algorithm = None
                else:
                    _decided(found, entry, asked, line, asking)
            try:
                history = history.add(line)
            except (ValueError, IndexError) as error:
                found.facts = found.facts or _finding(entry, None, "facts", None, None, f"{entry.place}: {error}")
                return found
            found.tasks += len(tasks_of(line))
            found.results += len(results_of(line))
            after_lost = isinstance(line[0], Lost)
        elif entry.type == "end" and entry.fields.get("reason") == COMPLETE:
            more = () if algorithm is None else _asked(found, entry, algorithm, history) or ()
            text = (
                f"{entry.place}: the run ended because {COMPLETE}, but the algorithm asks for {counted(len(more), 'more task')}."
            )
            if more and found.difference is None:
                found.difference = _finding(entry, None, "end", 0, len(more), text)
    found.history = history
    return found


def _asking(entries: Sequence[TraceEntry]) -> Iterator[tuple[TraceEntry, bool]]:
    """Yields each line, with True if the run still asked for tasks there.

    It is False after the last tasks of a session that was cut off, suspended, or ended by a stop condition.
    """
    asking: list[bool] = []
    later, stopped = False, True  # from the end backwards: do more tasks come in this session; was it stopped early
    for entry in reversed(entries):
        asking.append(later or not stopped)
        if entry.type == "end":
            stopped = entry.fields.get("reason") != COMPLETE
        if entry.line is not None and tasks_of(entry.line):
            later = True
        if entry.type == "open":
            later, stopped = False, True
    return zip(entries, reversed(asking), strict=True)


# -- decisions ----------------------------------------------------------------------------------------------------------


def _asked(found: Walk, entry: TraceEntry, algorithm: Algorithm, history: History) -> tuple[Task, ...] | None:
    """Returns the tasks that the algorithm asks for; None if it raises an error, which then counts as a difference."""
    try:
        return algorithm.ask(history)
    except Exception as error:
        text = f"{entry.place}: the algorithm failed on the history before this line: {type(error).__name__}: {error}."
        found.difference = found.difference or _finding(entry, None, "tasks", None, None, text)
        found.differing += 1
        return None


def _decided(found: Walk, entry: TraceEntry, asked: tuple[Task, ...], line: Line, asking: bool) -> None:
    """Compares the tasks that the algorithm asks for before a line with the line."""
    logged = tasks_of(line)
    found.decisions += bool(logged)
    if asked == logged or (not logged and not asking):
        return
    found.differing += 1
    found.difference = found.difference or _difference(entry, logged, asked)


def _difference(entry: TraceEntry, logged: tuple[Task, ...], asked: tuple[Task, ...]) -> Finding:
    """Returns the first difference between the tasks of a line and those that the algorithm asks for."""
    if not logged or not asked:
        there = f"the log has {counted(len(logged), 'task')}" if logged else "the log has results"
        text = f"{entry.place}: {there} where the algorithm asks for {len(asked) or 'none'}."
        return _finding(entry, None, "tasks", len(logged), len(asked), text)
    for mine, theirs in zip(logged, asked, strict=False):
        for name, got, expected in _fields(mine, theirs):
            text = f"{entry.place}: task {mine.id} has {name}={got!r}, and the algorithm decides {expected!r}."
            return _finding(entry, mine.id, name, got, expected, text + _near(got, expected))
    text = f"{entry.place}: the log has {counted(len(logged), 'task')}, and the algorithm decides {len(asked)}."
    return _finding(entry, None, "tasks", len(logged), len(asked), text)


def _fields(got: Task, expected: Task) -> Iterator[tuple[str, object, object]]:
    """Yields the fields in which two tasks differ: name, logged and expected value; hyperparameters and tags one by one."""
    for field in fields(Task):
        a, b = getattr(got, field.name), getattr(expected, field.name)
        if not field.compare or a == b:
            continue
        if field.name in ("hparams", "tags"):
            for name in dict.fromkeys([*b, *a]):
                if a.get(name) != b.get(name):
                    yield f"{field.name}.{name}", a.get(name), b.get(name)
        else:
            yield field.name, a, b


def _near(got: object, expected: object) -> str:
    """Returns a remark on two numbers that differ by rounding."""
    if isinstance(got, float) and isinstance(expected, float) and abs(got - expected) <= 1e-6 * abs(expected):
        return " The two differ by rounding; another machine or another version of numpy may cause this."
    return ""


# -- facts --------------------------------------------------------------------------------------------------------------

Wrong = tuple[str, object, object]  # a field, its value, and what is expected


def _impossible(entry: TraceEntry, history: History, line: Line, space: Space | None, keyed: bool) -> Finding | None:
    """Returns the first fact of a line that no algorithm and no executor can have produced."""
    wrongs: list[tuple[int, Wrong | None]] = [(task.id, _wrong_task(history, task, space, keyed)) for task in tasks_of(line)]
    wrongs += [(result.task, _wrong_result(history, result)) for result in results_of(line)]
    for id, wrong in wrongs:
        if wrong is not None:
            name, got, expected = wrong
            return _finding(entry, id, name, got, expected, f"{entry.place}: task {id} has {name}={got!r}, expected {expected}.")
    return None


def _wrong_task(history: History, task: Task, space: Space | None, keyed: bool) -> Wrong | None:
    if keyed and task.seed != (seed := task_seed(history.seed, task.id)):
        return "seed", task.seed, seed
    for name, id in (("parent", task.parent), ("teacher", task.teacher)):
        if id is not None and not history.ok(id):
            return name, id, "a task with a healthy result"
    if task.steps < 0 or (history.budget is not None and history.step(task.parent) + task.steps > max(history.budget, 0)):
        left = None if history.budget is None else history.budget - history.step(task.parent)
        return "steps", task.steps, f"0 to {left}"
    for name, parameter in space.items() if space is not None else ():
        if name not in task.hparams or not parameter.contains(task.hparams[name]):
            return f"hparams.{name}", task.hparams.get(name), f"a value of {parameter!r}"
        if parameter.static and task.parent is not None:
            given = history.task(task.parent).hparams.get(name)
            if task.hparams[name] != given:
                return f"hparams.{name}", task.hparams[name], f"{given!r}, the static value of its parent"
    return None


def _wrong_result(history: History, result: Result) -> Wrong | None:
    if result.error is None and result.curve:
        step, score = result.curve[-1]
        if step != result.step or not (score == result.score or not (isfinite(score) or isfinite(result.score))):
            return "curve", (step, score), f"{(result.step, result.score)!r}, the step and the score of the result, at its end"
    if result.error is None and result.checkpoint is None:
        return "checkpoint", None, "a reference, because a score without its checkpoint cannot exist"
    task = history.task(result.task) if 0 <= result.task < len(history) else None
    begin = 0 if task is None else history.step(task.parent if task.parent is not None else task.teacher)
    if result.step < begin:
        return "step", result.step, f"at least {begin}, where it began"
    return None


def _finding(entry: TraceEntry, task: int | None, field: str, got: object, expected: object, text: str) -> Finding:
    return Finding(entry.number, entry.place, task, field, got, expected, text)
