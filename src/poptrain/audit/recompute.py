"""Reads a log from its first line: is every fact possible, and does the algorithm take every decision again?

Nearly all logs are in order. So it is asked first whether all facts are possible, of all lines together, and the decisions are
taken again, by several processes. Only where a fact is wrong, the log is read line by line, to find the first one.
"""

from __future__ import annotations

from functools import partial
from math import isfinite

from poptrain.audit.decisions import Decisions, Part, difference, failed, take, unfinished
from poptrain.audit.finding import Finding, Walk, finding
from poptrain.audit.possible import made_possible, ordered, ordered_part, possible
from poptrain.audit.several import parts_of
from poptrain.audit.trace import Trace, TraceEntry
from poptrain.core import History, Line, Lost, Result, Task, maximised, results_of, tasks_of
from poptrain.core.protocols import Algorithm
from poptrain.core.rng import task_seed
from poptrain.core.wellformed import malformed
from poptrain.log.notes import COMPLETE
from poptrain.space import Space


def walk(trace: Trace, algorithm: Algorithm | None, space: Space | None, keyed: bool, processes: int | None = None) -> Walk:
    """Returns the first impossible fact, and the first decision that the algorithm takes differently.

    Args:
        trace: the log.
        algorithm: takes the decisions again; None: they are not checked.
        space: must contain the hyperparameters; None if it is unknown.
        keyed: the seed of a task follows from its id. False for a replay, whose tasks may have seeds of their own.
        processes: that take the decisions again; None: as many as are worth it.
    """
    history = ordered(trace)
    if history is not None:
        found = Walk(tasks=history.n, results=history.n - history.waiting, history=history)
        rest = partial(made_possible, history=history, space=space, keyed=keyed)
        parts: list[Part] | None = None
        if algorithm is None:
            parts = [] if possible(trace, history) and rest(trace.lines) else None
        elif possible(trace, history):
            parts = parts_of(Decisions(trace, history, algorithm, rest), processes)
        if parts is not None:
            take(found, parts)
            return found
    return line_by_line(trace, algorithm, space, keyed)


def line_by_line(trace: Trace, algorithm: Algorithm | None, space: Space | None, keyed: bool) -> Walk:
    """Returns what `walk` returns, and finds the first impossible fact."""
    found = Walk()
    sign = -1 if trace.run.get("mode") == "min" else 1
    history = History(trace.run.get("seed", 0), trace.run.get("budget"), sign)
    after_lost = False
    asking = iter(trace.asking())
    for entry in trace.entries():
        if entry.type == "budget":
            history = history.with_budget(entry.fields.get("budget"))
        if entry.line is not None:
            line, asks = entry.line, bool(next(asking))
            if not entry.sound and (wrong := next(filter(None, map(malformed, line)), None)) is not None:
                text = f"{entry.place}: {wrong.field}={wrong.got!r}, expected {wrong.expected}."
                found.facts = found.facts or finding(entry, None, *wrong, text)
                return found  # the lines after it do not make a history
            line = maximised(line, sign)
            found.facts = found.facts or _impossible(entry, history, line, space, keyed)
            if algorithm is not None and not after_lost:
                asked = _asked(found, entry, algorithm, history)
                if asked is None:
                    algorithm = None
                else:
                    _decided(found, entry, asked, line, asks)
            try:
                history = history.add(line)
            except (ValueError, IndexError) as error:
                found.facts = found.facts or finding(entry, None, "facts", None, None, f"{entry.place}: {error}")
                return found
            found.tasks += len(tasks_of(line))
            found.results += len(results_of(line))
            after_lost = isinstance(line[0], Lost)
        elif entry.type == "end" and entry.fields.get("reason") == COMPLETE:
            more = () if algorithm is None else _asked(found, entry, algorithm, history) or ()
            if more and found.difference is None:
                found.difference = unfinished(entry, more)
    found.history = history
    return found


# -- decisions ----------------------------------------------------------------------------------------------------------


def _asked(found: Walk, entry: TraceEntry, algorithm: Algorithm, history: History) -> tuple[Task, ...] | None:
    """Returns the tasks that the algorithm asks for; None if it raises an error, which then counts as a difference."""
    try:
        return algorithm.ask(history)
    except Exception as error:
        found.difference = found.difference or failed(entry, error)
        found.differing += 1
        return None


def _decided(found: Walk, entry: TraceEntry, asked: tuple[Task, ...], line: Line, asking: bool) -> None:
    """Compares the tasks that the algorithm asks for before a line with the line."""
    logged = tasks_of(line)
    found.decisions += bool(logged)
    if asked == logged or (not logged and not asking):
        return
    found.differing += 1
    found.difference = found.difference or difference(entry, logged, asked)


# -- facts --------------------------------------------------------------------------------------------------------------
Wrong = tuple[str, object, object]  # a field, its value, and what is expected


def _impossible(entry: TraceEntry, history: History, line: Line, space: Space | None, keyed: bool) -> Finding | None:
    """Returns the first fact of a line that no algorithm and no executor can have produced."""
    wrongs: list[tuple[int, Wrong | None]] = [(task.id, _wrong_task(history, task, space, keyed)) for task in tasks_of(line)]
    wrongs += [(result.task, _wrong_result(history, result)) for result in results_of(line)]
    for id, wrong in wrongs:
        if wrong is not None:
            name, got, expected = wrong
            return finding(entry, id, name, got, expected, f"{entry.place}: task {id} has {name}={got!r}, expected {expected}.")
    return None


def _wrong_task(history: History, task: Task, space: Space | None, keyed: bool) -> Wrong | None:
    if keyed and task.seed != (seed := task_seed(history.seed, task.id)):
        return "seed", task.seed, seed
    for name, id in (("parent", task.parent), ("teacher", task.teacher)):
        if id is not None and not history.ok(id):
            return name, id, "a task with a healthy result"
    if task.progress is not None and not ordered_part(task.progress):
        return "progress", task.progress, "two numbers from 0 to 1, the second not below the first"
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
