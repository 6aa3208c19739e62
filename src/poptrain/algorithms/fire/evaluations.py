"""What a history says about FIRE PBT: the curve of every seat since its weights were copied, and what each evaluator does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from poptrain.core import History, Line, Result, Task


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The job of an evaluator: it trains the weights that `member` had at step `since`, in the way that `target` trains."""

    member: int
    target: int
    since: int

    @classmethod
    def of(cls, task: Task) -> Evaluation:
        """Returns the job that an evaluator's task belongs to, from its tags."""
        return cls(*(int(task.tags[name]) for name in ("evaluates", "target", "since")))

    def tags(self) -> dict[str, int | str]:
        """Returns the tags of a task of this job."""
        return {"evaluates": self.member, "target": self.target, "since": self.since}


@dataclass(frozen=True, slots=True)
class Evaluations:
    """The state of a fold over the lines of a history; it is never changed in place."""

    curves: Mapping[int, tuple[float, ...]] = field(default_factory=dict)  # by seat, since its weights were copied
    busy: Mapping[int, Evaluation] = field(default_factory=dict)  # by evaluator's seat
    touched: Mapping[int, int] = field(default_factory=dict)  # by member: the line at which it last lost or was assigned


def observe(population: int, state: Evaluations, history: History, line: Line) -> Evaluations:
    """Returns the state one line later; the order of the results within a round does not matter."""
    tasks = [fact for fact in line if isinstance(fact, Task)]
    if tasks:
        return _decided(population, state, history, tasks)
    curves = dict(state.curves)
    for result in line:
        if isinstance(result, Result):
            points = tuple(score for _, score in result.curve) or (() if result.error else (result.score,))
            seat = history.task(result.task).member
            curves[seat] = curves.get(seat, ()) + points
    return Evaluations(curves, state.busy, state.touched)


def _decided(population: int, state: Evaluations, history: History, tasks: Sequence[Task]) -> Evaluations:
    curves, touched, busy = dict(state.curves), dict(state.touched), {}
    for task in tasks:
        seat, parent = task.member, task.parent
        if seat >= population:
            busy[seat] = job = Evaluation.of(task)
            if parent is not None and job.since == history.step(parent):  # just assigned
                curves[seat] = (history.score(parent),)  # y_1 is the score of the weights that it copied
                touched[job.member] = history.lines
        elif parent is not None and (source := history.task(parent).member) != seat:
            handed = source in state.busy  # by a successful evaluator, whose curve goes on as the child's
            curves[seat] = state.curves[source] if handed else (history.score(parent),)
            touched[seat] = history.lines
    return Evaluations(curves, busy, touched)
