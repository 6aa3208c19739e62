"""Is every fact of a run possible? The question alone, for many lines together: `recompute` finds the first one that is not.

Columns are compared as a whole, and equal values of a hyperparameter are looked at once. A million results take 6 s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import isfinite
from operator import attrgetter
from typing import TypeVar

import numpy as np

from poptrain.audit.trace import Trace
from poptrain.core import History, Line, Result, Task, collector
from poptrain.core.gathered import LOST, NEVER, Bools, Gathered, Ints, gathered
from poptrain.core.order import Order
from poptrain.core.rng import task_seeds
from poptrain.core.wellformed import malformed
from poptrain.space import Space

Fact = TypeVar("Fact", Task, Result)

MOST = 1 << 54  # steps, above all that a task can have
CANNOT = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)  # what impossible facts raise here


def ordered(trace: Trace) -> History | None:
    """Returns the history of all lines if each of them can follow the lines before; None if one cannot, or is malformed."""
    with suppress(*CANNOT), collector.paused():
        lines = trace.lines
        if any(malformed(fact) is not None for at in trace.unsound for fact in lines[at]):
            return None
        told = trace.told(len(lines), 1)[1] or gathered(lines)
        if not Order().follow_all(told):
            return None
        sign = -1 if trace.run.get("mode") == "min" else 1
        history = History(trace.run.get("seed", 0), trace.budget, sign)
        history = history.filled(lines.maximised(sign), told.with_sign(sign))
        return history if _lost_later(history, told) else None
    return None


def possible(trace: Trace, history: History) -> bool:
    """Returns True if every fact is possible, as far as columns tell.

    Args:
        trace: the log.
        history: what `ordered` returned.
    """
    with suppress(*CANNOT), collector.paused():
        return (
            all(_healthy(history, history.column(name)).all() for name in ("parent", "teacher"))
            and _within_budget(history, _budgets(trace))
            and _forwards(history)
        )
    return False


def made_possible(lines: Sequence[Line], history: History, space: Space | None, keyed: bool) -> bool:
    """Returns True if the facts of some lines are possible, as far as columns do not tell.

    Args:
        lines: follow each other in the log.
        history: of the whole log.
        space: must contain the hyperparameters; None if it is unknown.
        keyed: the seed of a task follows from its id.
    """
    with suppress(*CANNOT), collector.paused():
        tasks, results = _facts_of(lines, Task), _facts_of(lines, Result)
        first = tasks[0].id if tasks else 0
        return (
            (not keyed or list(map(_SEED, tasks)) == task_seeds(history.seed, first, len(tasks)))
            and all(progress is None or ordered_part(progress) for progress in map(_PROGRESS, tasks))
            and _complete(results)
            and (space is None or _inside(space, tasks, history))
        )
    return False


def _facts_of(lines: Sequence[Line], kind: type[Fact]) -> list[Fact]:
    """Returns all facts of one kind, in their order."""
    return [fact for line in lines if type(line[0]) is kind for fact in line]


def _lost_later(history: History, told: Gathered) -> bool:
    """True if every checkpoint was lost after its task had a result."""
    before = history.column("told")[told.lost]
    return bool((before < np.flatnonzero(told.kind == LOST)).all())


def _healthy(history: History, sources: Ints) -> Bools:
    """Returns True for each task without a source, or whose source was healthy when it was decided; shape (n,)."""
    issued, told, lost = (history.column(name) for name in ("issued", "told", "lost"))
    scored = ~np.isnan(history.column("score"))  # NaN of a result that was never healthy
    healthy: Bools = (sources < 0) | ((told[sources] < issued) & (lost[sources] >= issued) & scored[sources])
    return healthy


def _within_budget(history: History, budgets: Sequence[tuple[int, int | None]]) -> bool:
    """True if no task goes beyond the budget that was in force when it was decided."""
    ends = history.column("steps") + _step_at(history, history.column("parent"))
    limits = np.full(history.lines + 1, MOST)  # by line
    for at, budget in budgets:
        limits[at:] = MOST if budget is None else max(budget, 0)
    return bool((ends <= limits[history.column("issued")]).all())


def _budgets(trace: Trace) -> list[tuple[int, int | None]]:
    """Returns each budget, with the number of lines of facts before it."""
    noted = [(note.at, note.fields.get("budget")) for note in trace.notes if note.type == "budget"]
    return [(0, trace.run.get("budget")), *noted]


def _forwards(history: History) -> bool:
    """True if no result ends before its task began."""
    parent, told = history.column("parent"), history.column("told")
    begin = _step_at(history, np.where(parent >= 0, parent, history.column("teacher")))
    return bool((history.column("step") >= begin)[told < NEVER].all())


def _step_at(history: History, ids: Ints) -> Ints:
    """Returns the lineage steps of tasks, and 0 for each -1; shape of `ids`."""
    return np.where(ids >= 0, history.column("step")[ids], 0)


def ordered_part(progress: tuple[float, float]) -> bool:
    """True if a student can have this part of its distillation."""
    begin, end = progress
    return 0 <= begin <= end <= 1


def _complete(results: Iterable[Result]) -> bool:
    """True if each result that did not fail has a checkpoint, and its curve ends in its step and score."""
    for result in results:
        if result.error is None:
            if result.checkpoint is None:
                return False
            if curve := result.curve:
                step, score = curve[-1]
                if step != result.step or not (score == result.score or not (isfinite(score) or isfinite(result.score))):
                    return False
    return True


def _inside(space: Space, tasks: Sequence[Task], history: History) -> bool:
    """True if all hyperparameters are inside the space, and static ones are those of the parent."""
    every = list({id(task.hparams): task.hparams for task in tasks}.values())  # the tasks of a seat often share theirs
    for name, parameter in space.items():
        values = {(type(value), value): value for value in [hparams[name] for hparams in every]}
        if not all(map(parameter.contains, values.values())):
            return False
        if parameter.static and any(
            task.hparams is not (given := history.task(task.parent).hparams) and task.hparams[name] != given[name]
            for task in tasks
            if task.parent is not None
        ):
            return False
    return True


_SEED = attrgetter("seed")
_PROGRESS = attrgetter("progress")
