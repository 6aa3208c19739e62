"""The settings of FIRE PBT, and what a history says about it: the curve of every seat since its weights were copied, and what
each evaluator does. The numbers next to the lines are sections of the paper (see `fire_pbt`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from poptrain.algorithms.parts.exploit import Truncation
from poptrain.algorithms.parts.explore import Explore
from poptrain.algorithms.parts.turns import Starts
from poptrain.core import History, Hparams, Line, Result, Task
from poptrain.core.fingerprint import Earlier
from poptrain.space import Space


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The job of an evaluator: it trains the weights that `member` had at step `since`, in the way that `target` trains."""

    member: int  # ρ_parent: 3, step 1
    target: int  # ρ_child: 3, step 2
    since: int  # x_1 of the evaluator's curve: 3.1.1

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
    handed_over: int | None = None  # the step of the newest hand-over
    released: bool = False  # the seats of evaluators train as members


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
            curves[seat] = curves.get(seat, ()) + points  # y_2, y_3, …: 3.1.1; of every seat, since targets are compared too: 3.2
    return replace(state, curves=curves)


def _decided(population: int, state: Evaluations, history: History, tasks: Sequence[Task]) -> Evaluations:
    curves, touched, busy, handed_over = dict(state.curves), dict(state.touched), {}, state.handed_over
    if state.released or any(task.member >= population and not task.evaluator for task in tasks):
        return Evaluations(handed_over=handed_over, released=True)
    for task in tasks:
        seat, parent = task.member, task.parent
        if seat >= population:
            busy[seat] = job = Evaluation.of(task)
            if parent is not None and job.since == history.step(parent):  # just assigned
                curves[seat] = (history.score(parent),)  # 3.1.1: y_1 is the score of the weights that it copied
                touched[job.member] = history.lines
        elif parent is not None and (source := history.task(parent).member) != seat:
            handed = source in state.busy  # by a successful evaluator, whose curve goes on as the child's
            curves[seat] = state.curves[source] if handed else (history.score(parent),)  # 3.2: it begins with a copy
            touched[seat] = history.lines
            handed_over = history.step(parent) if handed else handed_over
    return Evaluations(curves, busy, touched, handed_over)


@dataclass(frozen=True)
class FireSettings:
    """The arguments of `fire_pbt`, after they were checked."""

    space: Space
    subpopulations: tuple[int, ...]
    evaluators: int
    interval: int
    max_eval: int
    warmup: tuple[int, ...]
    evals: int
    exploit: Truncation
    p_stat: float
    initial: tuple[Hparams, ...]
    explore: Explore[Space]
    starts: Starts = field(default="spread", metadata={"absent": "random"})
    ahead: bool = field(default=True, metadata={"absent": False})  # weights with lower scores are not handed over
    release: bool = field(default=True, metadata={"absent": False})  # see `released`
    earlier: Earlier = field(default_factory=dict, compare=False, repr=False, metadata={"logged": False})

    @property
    def population(self) -> int:
        """The number of members, which train to the budget. The seats after them are evaluators, and may be idle."""
        return sum(self.subpopulations)

    @property
    def seats(self) -> int:
        """The number of members and evaluators."""
        return self.population + self.evaluators

    def members(self, i: int) -> range:
        """Returns the seats of sub-population i, counted from 0: P_1 is 0."""
        begin = sum(self.subpopulations[:i])
        return range(begin, begin + self.subpopulations[i])

    def measured(self, task: Task) -> Task:
        """Returns the task with its evaluations: `evals`, fewer if the budget cuts it short."""
        return replace(task, evals=max(1, self.evals * task.steps // self.interval))

    def stops(self, p: float | None, trained: int) -> bool:
        """True if an evaluator stops after `trained` steps; p is None if its curve does not overlap with that of its target."""
        if p is None:
            return trained > self.max_eval  # 3.2, stop, the first criterion
        return p > self.p_stat + max(0.0, 1 - trained / self.max_eval)  # 3.2, stop, the second one: no hard limit

    def released(self, state: Evaluations, step: int, budget: int | None) -> bool:
        """True if evaluation does not pay any more at this step: then all seats are members of one population.

        That is so if no hand-over came until the first evaluations could be over, or within two evaluations after the newest
        one, or if the budget is too short for another evaluation. A run that stops after a time or at a score has no budget in
        steps (None), and the last rule does not hold in it: an algorithm has no clock, so it cannot know how much is left.
        """
        if not self.release or not self.evaluators:
            return False
        begin = max(self.interval, min(self.warmup))
        deadline = begin + self.max_eval if state.handed_over is None else state.handed_over + 2 * self.max_eval
        return state.released or step >= deadline or (budget is not None and budget - step <= self.max_eval)

    def state(self, history: History) -> Evaluations:
        """Returns the curves and assignments at the end of `history`."""
        return history.fold(("fire_pbt", self.population), Evaluations(), partial(observe, self.population))
