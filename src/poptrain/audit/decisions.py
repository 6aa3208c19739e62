"""Takes the decisions of a run again, and compares them with its log.

``ask`` of the history before a line of tasks must equal the line, and before a line of results it must be ``()``. The exception
is a run that no longer asked: after its stop condition, and while it was being suspended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

from poptrain.audit.finding import Finding, Walk, finding
from poptrain.audit.trace import Note, Trace, TraceEntry
from poptrain.core import History, Lost, Task, collector, tasks_of
from poptrain.core.counting import counted
from poptrain.core.lines import Lines
from poptrain.core.prefixes import prefixes
from poptrain.core.protocols import Algorithm
from poptrain.log.notes import COMPLETE


@dataclass
class Part:
    """What was found before some lines of facts that follow each other."""

    impossible: bool = False  # one of their facts; then nothing else was looked at
    decisions: int = 0  # lines of tasks that were recomputed
    differing: int = 0  # lines
    failed: bool = False  # the algorithm raised an error, and was not asked again
    first: int | None = None  # number of lines of facts before the first difference
    difference: Finding | None = None  # the first one


class Decisions:
    """The decisions of a run, and the facts that they are taken on.

    Args:
        trace: the log.
        history: all of its facts.
        algorithm: takes the decisions again.
        possible: returns True if the facts of some lines are possible.
    """

    def __init__(self, trace: Trace, history: History, algorithm: Algorithm, possible: Callable[[Lines], bool]):
        self.trace, self.history, self.algorithm, self._possible = trace, history, algorithm, possible
        self._asking = trace.asking()
        self._notes = [note for note in trace.notes if note.type in ("budget", "end")]

    def part(self, begin: int, end: int) -> Part:
        """Returns what is found before the lines from `begin` to `end`, the last one not included.

        A line that is one after the last line stands for the end of the log.
        """
        if not self._possible(self.trace.lines[begin:end]):
            return Part(impossible=True)
        with collector.settled():
            return self._taken_again(begin, end)

    def _taken_again(self, begin: int, end: int) -> Part:
        part, lines, algorithm, asking = Part(), self.trace.lines, self.algorithm, self._asking
        notes = [note for note in self._notes if begin <= note.at < end][::-1]
        at_next = notes[-1].at if notes else end
        budget = self._budget(begin)
        after_lost = begin > 0 and isinstance(lines[begin - 1][0], Lost)
        for at, history in zip(range(begin, end), prefixes(self.history, begin), strict=False):
            if budget != history.budget:
                history = history.with_budget(budget)
            while at == at_next:
                note = notes.pop()
                at_next = notes[-1].at if notes else end
                if note.type == "budget":
                    budget = note.fields.get("budget")
                    history = history.with_budget(budget)
                elif note.fields.get("reason") == COMPLETE:
                    self._ended(part, note, history)
            if at == len(lines):
                break
            line = lines[at]
            if not after_lost:
                try:
                    asked = algorithm.ask(history)
                except Exception as error:
                    self._raised(part, at, self.trace.facts(at), error)
                    part.failed = True
                    return part
                logged = tasks_of(line)
                part.decisions += bool(logged)
                if asked != logged and (logged or asking[at]):
                    part.differing += 1
                    if part.difference is None:
                        part.first, part.difference = at, difference(self.trace.facts(at), logged, asked)
            after_lost = isinstance(line[0], Lost)
        return part

    def _budget(self, at: int) -> int | None:
        """Returns the budget after this number of lines, before the administration that follows them."""
        noted = [note.fields.get("budget") for note in self._notes if note.type == "budget" and note.at < at]
        budget: int | None = noted[-1] if noted else self.trace.run.get("budget")
        return budget

    def _ended(self, part: Part, note: Note, history: History) -> None:
        """Checks that nothing was left to do at the end of a run."""
        entry = self.trace.administration(note)
        try:
            more = self.algorithm.ask(history)
        except Exception as error:
            self._raised(part, note.at, entry, error)
            return
        if more and part.difference is None:
            part.first, part.difference = note.at, unfinished(entry, more)

    def _raised(self, part: Part, at: int, entry: TraceEntry, error: Exception) -> None:
        part.differing += 1
        if part.difference is None:
            part.first, part.difference = at, failed(entry, error)


def take(found: Walk, parts: list[Part]) -> None:
    """Adds parts, in the order of the log, up to the one in which the algorithm failed."""
    for part in parts:
        found.decisions += part.decisions
        found.differing += part.differing
        found.difference = found.difference or part.difference
        if part.failed:
            break


# -- how a difference is described -------------------------------------------------------------------------------------------


def failed(entry: TraceEntry, error: Exception) -> Finding:
    """Returns that the algorithm raises an error."""
    text = f"{entry.place}: the algorithm failed on the history before this line: {type(error).__name__}: {error}."
    return finding(entry, None, "tasks", None, None, text)


def unfinished(entry: TraceEntry, more: tuple[Task, ...]) -> Finding:
    """Returns that a run ended too early."""
    text = f"{entry.place}: the run ended because {COMPLETE}, but the algorithm asks for {counted(len(more), 'more task')}."
    return finding(entry, None, "end", 0, len(more), text)


def difference(entry: TraceEntry, logged: tuple[Task, ...], asked: tuple[Task, ...]) -> Finding:
    """Returns the first difference between the tasks of a line and those that the algorithm asks for."""
    if not logged or not asked:
        there = f"the log has {counted(len(logged), 'task')}" if logged else "the log has results"
        text = f"{entry.place}: {there} where the algorithm asks for {len(asked) or 'none'}."
        return finding(entry, None, "tasks", len(logged), len(asked), text)
    for mine, theirs in zip(logged, asked, strict=False):
        for name, got, expected in _fields(mine, theirs):
            text = f"{entry.place}: task {mine.id} has {name}={got!r}, and the algorithm decides {expected!r}."
            return finding(entry, mine.id, name, got, expected, text + _near(got, expected))
    text = f"{entry.place}: the log has {counted(len(logged), 'task')}, and the algorithm decides {len(asked)}."
    return finding(entry, None, "tasks", len(logged), len(asked), text)


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
