"""Walking a log from its first line: is every fact possible, and is every decision what the algorithm decides?

Before a line of tasks, ``ask`` of the history up to there must equal it; before a line of results it must be ``()``. That may
be otherwise only where a run stops asking: at its stop condition, and while it drains before it is suspended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, NamedTuple

from poptrain.core import History, Line, Lost, Result, Task
from poptrain.core.rng import task_seed
from poptrain.log.reader import Record, segment_name
from poptrain.space import Space

SEATS = 1 << 20  # more members than any run has
REACHED = "every member reached its last step"  # why `run` ends when no other condition holds


class Entry(NamedTuple):
    """One line of the log, with its place."""

    number: int  # in the run, from 0
    place: str  # file and line
    type: str  # of administration; "" for facts
    data: Any  # fields of administration, or the facts


class Trace(Record):
    """A record that keeps administration and facts in the order in which they were written."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.entries: list[Entry] = []

    def note(self, type: str, data: Any, time: float, line: Line | None = None) -> None:
        place = f"{segment_name(self.segment)} line {self.number + 1}"
        self.entries.append(Entry(self.seq, place, "" if line is not None else type, data if line is None else line))
        super().note(type, data, time, line)


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it must be."""

    line: int | None  # its number in the run, from 0; None: no line of the log
    place: str  # file and line
    task: int | None
    field: str
    got: Any  # what is there
    expected: Any
    text: str  # one sentence


@dataclass
class Walk:
    """What a walk has found so far."""

    decisions: int = 0  # lines of tasks that were recomputed
    tasks: int = 0
    results: int = 0
    facts: Finding | None = None  # the first impossible fact
    difference: Finding | None = None  # the first decision that the algorithm does not take
    differing: int = 0  # lines of tasks that it does not take so
    history: History | None = None


def walk(trace: Trace, algorithm: Any, space: Space | None, keyed: bool) -> Walk:
    """Returns what is wrong with the facts, and with the decisions if there is an algorithm that can take them again.

    Args:
        space: in which hyperparameters must lie; None if it is not known.
        keyed: False for a run whose tasks may have seeds of their own: a replay.
    """
    found = Walk()
    sign = -1 if trace.run.get("mode") == "min" else 1
    history = History(trace.run.get("seed", 0), trace.run.get("budget"), sign)
    before = ""
    for entry, asking in _asking(trace.entries):
        if entry.type == "budget":
            history = history.with_budget(entry.data.get("budget"))
        if not entry.type:
            first = entry.data[0]
            if (wrong := next(filter(None, map(malformed, entry.data)), None)) is not None:
                text = f"{entry.place}: {wrong[0]}={wrong[1]!r}, expected {wrong[2]}."
                found.facts = found.facts or _finding(entry, None, *wrong, text)
                return found  # nothing behind it can be read as history
            line = tuple(each.flipped() for each in entry.data) if sign < 0 and isinstance(first, Result) else entry.data
            found.facts = found.facts or _impossible(entry, history, line, space, keyed)
            if algorithm is not None and before != "lost":
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
            found.tasks += len(line) if isinstance(first, Task) else 0
            found.results += len(line) if isinstance(first, Result) else 0
            before = "lost" if isinstance(first, Lost) else ""
        elif entry.type == "end" and entry.data.get("reason") == REACHED:
            more = () if algorithm is None else _asked(found, entry, algorithm, history) or ()
            text = f"{entry.place}: the run ended as if {REACHED}, but the algorithm goes on with {len(more)} tasks."
            if more and found.difference is None:
                found.difference = _finding(entry, None, "end", 0, len(more), text)
    found.history = history
    return found


def _asking(entries: Sequence[Entry]) -> Iterator[tuple[Entry, bool]]:
    """Yields each line with whether the run was still asking there: False behind the last tasks of a sitting that was cut off,
    suspended or stopped by a condition."""
    asking: list[bool] = []
    later, stopped = False, True  # seen from the end: are there tasks to come in this sitting; was it stopped early
    for entry in reversed(entries):
        asking.append(later or not stopped)
        if entry.type == "end":
            stopped = entry.data.get("reason") != REACHED
        if not entry.type and isinstance(entry.data[0], Task):
            later = True
        if entry.type == "open":
            later, stopped = False, True
    return zip(entries, reversed(asking), strict=True)


def malformed(fact: Any) -> tuple[str, Any, str] | None:
    """Returns the field of a fact that is of a wrong type, what it is and what is expected; None if the fact is sound."""
    if isinstance(fact, Task):
        whole, maybe = ("id", "member", "steps", "seed", "evals"), ("parent", "teacher")
        maps, others = ("hparams", "tags", "note"), ()
    elif isinstance(fact, Result):
        whole, maybe, maps, others = ("task", "step"), (), ("metrics",), ("score",)
    else:
        whole, maybe, maps, others = ("task",), (), (), ()
    for name in (*whole, *(name for name in maybe if getattr(fact, name) is not None)):
        value = getattr(fact, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < (SEATS if name == "member" else 2**53):
            return name, value, "a whole number from 0"
    for name in maps:
        if not isinstance(getattr(fact, name), Mapping):
            return name, getattr(fact, name), "a mapping"
    for name in others:
        if isinstance(value := getattr(fact, name), bool) or not isinstance(value, (int, float)):
            return name, value, "a number"
    if isinstance(fact, Result):
        try:
            numbers = [float(number) for step, score in fact.curve for number in (step, score)] + [float(x) for x in fact.returns]
            numbers += [float(fact.score)]
        except (TypeError, ValueError, OverflowError):
            return "curve", fact.curve, "pairs of a step and a score, and returns that are numbers"
        if not (fact.checkpoint is None or isinstance(fact.checkpoint, str)):
            return "checkpoint", fact.checkpoint, "a reference"
    return None


def _asked(found: Walk, entry: Entry, algorithm: Any, history: History) -> tuple[Task, ...] | None:
    """Returns what the algorithm asks; None if it cannot decide upon such a history, which is then a difference."""
    try:
        return algorithm.ask(history)
    except Exception as error:
        text = f"{entry.place}: the algorithm cannot decide upon what is before this line: {type(error).__name__}: {error}."
        found.difference, found.differing = (
            found.difference or _finding(entry, None, "tasks", None, None, text),
            found.differing + 1,
        )
        return None


def _decided(found: Walk, entry: Entry, asked: tuple[Task, ...], line: Line, asking: bool) -> None:
    """Compares what is asked before a line with the line."""
    told = line if isinstance(line[0], Task) else ()
    found.decisions += bool(told)
    if asked == told or (not told and not asking):
        return
    found.differing += 1
    if found.difference is not None:
        return
    if not told or not asked:
        there = f"the log has {len(told)} tasks" if told else "the log has results"
        text = f"{entry.place}: {there} where the algorithm asks for {len(asked) or 'none'}."
        found.difference = _finding(entry, None, "tasks", len(told), len(asked), text)
        return
    for mine, theirs in zip(told, asked, strict=False):
        for name, got, expected in _fields(mine, theirs):
            text = (
                f"{entry.place}: task {mine.id} has {name}={got!r}, and the algorithm decides {expected!r}.{_near(got, expected)}"
            )
            found.difference = _finding(entry, mine.id, name, got, expected, text)
            return
    text = f"{entry.place}: the log has {len(told)} tasks, and the algorithm decides {len(asked)}."
    found.difference = _finding(entry, None, "tasks", len(told), len(asked), text)


def _fields(got: Task, expected: Task) -> Iterator[tuple[str, Any, Any]]:
    """Yields the fields in which two tasks differ; hyperparameters and tags one by one."""
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


def _near(got: Any, expected: Any) -> str:
    """Returns a remark on two numbers that differ by rounding."""
    if isinstance(got, float) and isinstance(expected, float) and abs(got - expected) <= 1e-6 * abs(expected):
        return " The two differ by rounding, as another machine or version of numpy may make them."
    return ""


def _impossible(entry: Entry, history: History, line: Line, space: Space | None, keyed: bool) -> Finding | None:
    """Returns the first fact of a line that no algorithm and no executor can have produced."""
    for fact in line:
        if isinstance(fact, Task):
            wrong = _wrong_task(history, fact, space, keyed)
        else:
            wrong = _wrong_result(history, fact) if isinstance(fact, Result) else None
        if wrong is not None:
            id = fact.id if isinstance(fact, Task) else fact.task
            name, got, expected = wrong
            return _finding(entry, id, name, got, expected, f"{entry.place}: task {id} has {name}={got!r}, expected {expected}.")
    return None


def _wrong_task(history: History, task: Task, space: Space | None, keyed: bool) -> tuple[str, Any, Any] | None:
    if keyed and task.seed != (seed := task_seed(history.seed, task.id)):
        return "seed", task.seed, seed
    for role in ("parent", "teacher"):
        id = getattr(task, role)
        if id is not None and not history.ok(id):
            return role, id, "a task with a healthy result"
    if task.steps < 0 or (history.budget is not None and history.step(task.parent) + task.steps > max(history.budget, 0)):
        left = None if history.budget is None else history.budget - history.step(task.parent)
        return "steps", task.steps, f"0 to {left}"
    for name, parameter in space.items() if space is not None else ():
        if name not in task.hparams or not parameter.contains(task.hparams[name]):
            return f"hparams.{name}", task.hparams.get(name), f"a value of {parameter!r}"
        if parameter.static and task.parent is not None:
            given = history.task(task.parent).hparams.get(name)
            if task.hparams[name] != given:
                return f"hparams.{name}", task.hparams[name], f"{given!r}, which its parent has and which is static"
    return None


def _wrong_result(history: History, result: Result) -> tuple[str, Any, Any] | None:
    if result.error is None and result.curve:
        step, score = result.curve[-1]
        if step != result.step or not (score == result.score or not (isfinite(score) or isfinite(result.score))):
            return "curve", (step, score), f"the score itself at its end, {(result.step, result.score)!r}"
    if result.error is None and result.checkpoint is None:
        return "checkpoint", None, "the reference of one: a score without its checkpoint cannot exist"
    task = history.task(result.task) if 0 <= result.task < len(history) else None
    begin = 0 if task is None else history.step(task.parent if task.parent is not None else task.teacher)
    if result.step < begin:
        return "step", result.step, f"at least {begin}, where it began"
    return None


def _finding(entry: Entry, task: int | None, field: str, got: Any, expected: Any, text: str) -> Finding:
    return Finding(entry.number, entry.place, task, field, got, expected, text)
