"""BG-PBT with architectures: generations of members, each of which learns from the one before (section 3.2 of arXiv:2207.09405).

    train a generation with BG-PBT for hyperparameters; clones keep the architecture of their parent          `bg_pbt`
    when it has trained long enough, or is stale:                                                             `generations`
        candidates ← architectures by a process, the best ones so far, and random ones                        `candidates`
        distil each of them from one of the best members; halve their number until B are left                 rungs
        the B students are the members of the next generation, which begins without data                      `chapter`

The candidates are tasks with the role "candidate": the first rung begins with new weights and has a ``teacher``, the next ones
continue it. Its ``progress`` states the part of the distillation, so alpha does not depend on who trains it, or when.

*The clock.* The budget is that of the members: B members with n steps each train B n steps in all, and the steps of candidates
count. The steps of a student go on from those of its teacher. What was trained and is in the lineage of no member any more, above
all by the candidates that were not chosen, is taken from the budget of all members in equal parts. A generation never begins if
its members could not train for an interval after it.

Departures from the reference code: see `bg_pbt`. In addition, the process over architectures gets the data that it needs, and its
suggestions are within the space; scores belong to the candidates that earned them; alpha goes on where the rung before ended;
seeds differ; the trust region and its counters begin again with every generation; a candidate that fails is never chosen, and if
too few are healthy, members of the generation before stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from poptrain.algorithms.bg_pbt.candidates import Candidate, candidates_of
from poptrain.algorithms.bg_pbt.chapter import CANDIDATE, Chapter, trained_steps
from poptrain.algorithms.bg_pbt.generations import Generations, Rung
from poptrain.algorithms.parts.exploit import Truncation
from poptrain.algorithms.pbt import Pbt
from poptrain.core import History, Line, Task
from poptrain.core.brief import brief
from poptrain.core.rng import task_seeds
from poptrain.space import Space


@dataclass(frozen=True)
class Generational:
    """BG-PBT with generations; see `bg_pbt`.

    Args:
        space: the hyperparameters, static ones among them.
        within: the algorithm of one generation.
        generations: when a new one begins, and how.
        counts_all: the budget also counts what was trained in former generations by members that failed, or went back to the
            weights of another member with fewer steps.
    """

    space: Space
    within: Pbt
    generations: Generations
    name: str = "bg_pbt"
    counts_all: bool = field(default=True, metadata={"absent": False})

    __repr__ = brief

    @property
    def distills(self) -> bool:
        """True: candidates learn from teachers."""
        return True

    @property
    def population(self) -> int:
        """The number of members; candidates have the seats from 0 as well, and those after them."""
        return self.within.population

    @property
    def interval(self) -> int:
        """Steps between decisions about one member."""
        assert isinstance(self.within.interval, int)  # `bg_pbt` checked it
        return self.within.interval

    @property
    def seats(self) -> int:
        """The largest number of pending tasks: members, or candidates."""
        return max(self.population, self._candidates(self.generations.most))

    def ask(self, history: History) -> tuple[Task, ...]:
        """Returns the next tasks of `history`; () while waiting, and when all members are finished or failed."""
        chapter = self._chapter(history)
        if chapter.rungs:
            return self._halved(history, chapter)
        if self._ends(history, chapter):
            return () if len(history.open()) else self._first_rung(history, chapter)
        return self._within(history, chapter)

    def needed(self, history: History) -> frozenset[int]:
        """Returns the tasks whose checkpoints may still become parents or teachers."""
        chapter = self._chapter(history)
        held = frozenset(map(chapter.outside, self.within.needed(chapter.own)))
        students = {id for ids in chapter.rungs[-1:] for id in ids if history.ok(id)}
        teachers = {history.task(id).teacher for ids in chapter.rungs[-1:] for id in ids}
        return held | frozenset(id for id in students | teachers if id is not None and history.ok(id))

    # -- one generation ---------------------------------------------------------------------------------------------------

    def _chapter(self, history: History) -> Chapter:
        first = Chapter(History(history.seed, None, history.sign), counts_all=self.counts_all)

        def after(chapter: Chapter, history: History, line: Line) -> Chapter:
            return chapter.after(history, line)

        return history.fold(self, first, after)

    def _within(self, history: History, chapter: Chapter) -> tuple[Task, ...]:
        """Returns the next tasks of the generation, as tasks of the log."""
        budget = None if history.budget is None else self._share(history.budget, chapter)
        asked = self.within.ask(chapter.own.with_budget(budget))
        ids = range(history.n, history.n + len(asked))
        return tuple(
            replace(task, id=id, seed=seed, parent=None if task.parent is None else chapter.outside(task.parent))
            for task, id, seed in zip(asked, ids, task_seeds(history.seed, history.n, len(asked)), strict=True)
        )

    def _share(self, budget: int, chapter: Chapter) -> int:
        """Returns the lineage steps of a member: what was trained before and is in no lineage is taken off the budget."""
        return max(budget - -(-chapter.apart // self.population), 0)

    # -- between two generations ------------------------------------------------------------------------------------------

    def _candidates(self, number: int) -> int:
        """Returns the number of candidates for the generation with this number, from 1."""
        return self.generations.drawn(self.population) + number

    def _ends(self, history: History, chapter: Chapter) -> bool:
        """True if the generation ends now: it is old or stale, and a new one can still be trained."""
        if chapter.number >= self.generations.most or not chapter.own.n or not chapter.standing():
            return False
        old = chapter.age() >= self.generations.length(self.interval)
        if not old and chapter.stale() < self.generations.patience:
            return False
        return history.budget is None or self._affords(history.budget, history, chapter)

    def _affords(self, budget: int, history: History, chapter: Chapter) -> bool:
        """True if the budget has the steps of the next candidates, and of an interval of every member after them."""
        held = chapter.own.standing()
        reached = chapter.own.column("step")[held[held >= 0]]
        candidates = self._candidates(chapter.number + 1)
        cost = self.generations.cost(candidates, self.population, self.interval) + self.population * self.interval
        if not self.counts_all:
            return self.population * self._share(budget, chapter) - int(reached.sum()) >= cost
        length = sum(rung.steps for rung in self._rungs(candidates)) + self.interval  # of a student; its teacher may be far ahead
        return self.population * budget - trained_steps(history) >= cost and int(reached.max()) + length <= budget

    def _first_rung(self, history: History, chapter: Chapter) -> tuple[Task, ...]:
        generations = self.generations
        drawn = generations.drawn(self.population)
        found = candidates_of(history, chapter, self.space, self._teachers(chapter), drawn, generations.modelled)
        rung = self._rungs(len(found))[0]
        return self._tasks(history, list(enumerate(found)), rung, found[0].teacher)

    def _halved(self, history: History, chapter: Chapter) -> tuple[Task, ...]:
        """Returns the next rung of the best candidates, or after the last one the first tasks of the new generation."""
        if len(history.open()):
            return ()
        rungs, ids = self._rungs(len(chapter.rungs[0])), chapter.rungs[-1]
        done = len(chapter.rungs)
        best = sorted(chapter.best(history, ids, rungs[done - 1].survivors))
        if done == len(rungs) or not best or not self._teachers(chapter):
            return self._within(history, chapter.turned(history))
        return self._tasks(history, [(history.task(id).member, id) for id in best], rungs[done], self._teachers(chapter)[0])

    def _teachers(self, chapter: Chapter) -> tuple[int, ...]:
        """Returns the members that may teach: the share of the best ones that exploit copies."""
        exploit, fraction = self.within.exploit, 1 / self.population
        if isinstance(exploit, Truncation):
            fraction = exploit.fraction
        return chapter.standing()[: max(1, int(fraction * self.population))]

    def _rungs(self, candidates: int) -> tuple[Rung, ...]:
        return self.generations.rungs(candidates, self.population, self.interval)

    def _tasks(
        self, history: History, plans: Sequence[tuple[int, Candidate | int]], rung: Rung, teacher: int
    ) -> tuple[Task, ...]:
        """Returns the tasks of one rung, of new candidates or of those that go on from a task.

        Args:
            teacher: of those whose own teacher was lost.
        """
        tasks = []
        seeds = task_seeds(history.seed, history.n, len(plans))
        evals = max(1, -(-rung.steps // self.interval))
        for id, ((seat, plan), seed) in enumerate(zip(plans, seeds, strict=True), history.n):
            common: dict[str, Any] = {"member": seat, "steps": rung.steps, "seed": seed, "evals": evals}
            common["progress"] = (rung.begin, rung.end)
            if isinstance(plan, Candidate):
                note = {"architecture": plan.source}
                task = Task(id, hparams=plan.hparams, parent=None, teacher=plan.teacher, note=note, role=CANDIDATE, **common)
            else:
                before = history.task(plan)
                taught = before.teacher if history.ok(before.teacher) else teacher
                task = replace(before, id=id, parent=plan, teacher=taught, **common)
            tasks.append(task)
        return tuple(tasks)
