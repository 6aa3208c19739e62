"""A generation as a history of its own: that is how a new one begins without data, and without a special case anywhere else.

The log has all generations, one after the other, and between two of them the *candidates*: tasks with this role, which distil
students. `Chapter` is a fold over the log. Its `own` history holds one generation alone, with its own task ids: first the
*roots*, which are the students that became its members, as evaluations with a result, and then the segments of the members. The
search for hyperparameters reads nothing else, so its rows, its trust region and its ranks begin again with each generation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from poptrain.core import History, Line, Lost, Result, Task, rank
from poptrain.core.facts import tasks_of
from poptrain.core.rng import rng

CANDIDATE: Final = "candidate"  # the role of tasks that distil


class Chapter(NamedTuple):
    """The generation that trains, and the candidates for the next one."""

    own: History  # the generation alone
    number: int = 0  # generations before it
    roots: tuple[int, ...] = ()  # ids in the log of its first tasks, one for each member
    first: int = 0  # id in the log of the first segment after the roots
    rungs: tuple[tuple[int, ...], ...] = ()  # ids of the candidates of each rung of the change that is going on
    apart: int = 0  # steps that were trained before this generation and are in the lineage of none of its members
    ended: tuple[int, ...] = ()  # the best task of each generation before
    counts_all: bool = True  # False: only candidates count as apart

    # -- ids ------------------------------------------------------------------------------------------------------------

    def inside(self, id: int) -> int | None:
        """Returns the id in `own` of a task of the log; None if it is not of this generation."""
        if id in self.roots:
            return self.roots.index(id)
        return None if id < self.first else id - self.first + len(self.roots)

    def outside(self, id: int) -> int:
        """Returns the id in the log of a task of `own`."""
        return self.roots[id] if id < len(self.roots) else id - len(self.roots) + self.first

    # -- the fold ---------------------------------------------------------------------------------------------------------

    def after(self, history: History, line: Line) -> Chapter:
        """Returns the chapter after one more line, the last one of `history`."""
        tasks = tasks_of(line)
        if tasks and tasks[0].role == CANDIDATE:
            return self._replace(rungs=(*self.rungs, tuple(task.id for task in tasks)))
        if tasks and self.rungs:
            return self.turned(history.at(history.lines - 1)).after(history, line)
        facts: list[Task | Result | Lost] = []
        for fact in line:
            id = self.inside(fact.id if isinstance(fact, Task) else fact.task)
            if id is None or (self.rungs and id >= self.own.n):  # of an earlier generation, or of a candidate
                continue
            if isinstance(fact, Task):
                parent = None if fact.parent is None else self.inside(fact.parent)
                facts.append(replace(fact, id=id, parent=parent))
            else:
                facts.append(replace(fact, task=id))
        return self._replace(own=self.own.add(facts)) if facts else self  # type: ignore[arg-type]  # all of one kind

    def turned(self, history: History) -> Chapter:
        """Returns the next generation: the best students, and if too few are healthy, the best members of this one."""
        population, number = len(self.own.heads()), self.number + 1
        students = sorted(self.best(history, self.rungs[-1], population))
        found = (*students, *self.standing())
        roots = tuple(found[seat % len(found)] for seat in range(population)) if found else ()
        own = History(int(rng(history.seed, number, "generation").integers(1 << 31)), None, history.sign)
        own = own.add([Task(seat, seat, history.task(id).hparams, None, 0, 0) for seat, id in enumerate(roots)])
        own = own.add([replace(_told(history, id), task=seat) for seat, id in enumerate(roots)])
        best = max(np.flatnonzero(self.own.oks).tolist(), key=self.own.score, default=None)
        ended = self.ended if best is None else (*self.ended, self.outside(best))
        return Chapter(own, number, roots, history.n, (), self._apart(history, roots, students), ended, self.counts_all)

    def _apart(self, history: History, roots: Sequence[int], students: Sequence[int]) -> int:
        """Returns `apart` of the next generation: what members that failed or went back have trained counts as well."""
        if self.counts_all:
            return max(trained_steps(history) - sum(map(history.step, roots)), 0)
        trained = sum(history.task(id).steps for ids in self.rungs for id in ids)
        kept = sum(history.task(id).steps for student in students for id in _training(history, student))
        return self.apart + trained - kept

    def best(self, history: History, ids: Sequence[int], count: int) -> list[int]:
        """Returns the healthy ones among some tasks with the highest scores, from the best on."""
        order = rank(np.array([history.score(id) for id in ids]), rng(history.seed, ids[0], "halving"))[::-1]
        return [ids[place] for place in order.tolist() if history.ok(ids[place])][:count]

    def standing(self) -> tuple[int, ...]:
        """Returns the healthy tasks that the members hold, by their ids in the log, from the best on."""
        held = [int(id) for id in self.own.standing() if id >= 0 and self.own.ok(int(id))]
        return tuple(self.outside(id) for id in sorted(held, key=self.own.score, reverse=True))

    # -- what it has come to ------------------------------------------------------------------------------------------------

    def age(self) -> int:
        """Returns the steps that the member which is furthest has trained in this generation."""
        held = self.own.standing()
        step = self.own.column("step")
        begun = int(step[: len(self.roots)].max(initial=0))
        return int(step[held[held >= 0]].max(initial=0)) - begun

    def stale(self) -> int:
        """Returns the rounds since the best score of this generation: n segments of n members are a round."""
        scores = np.where(self.own.oks, self.own.scores, -np.inf)
        if not len(scores) or not np.isfinite(scores.max()):
            return 0
        told = self.own.column("told")
        best = int(told[np.flatnonzero(scores == scores.max())].min())
        return int(((told > best) & (told < self.own.lines)).sum()) // max(len(self.own.heads()), 1)


def trained_steps(history: History) -> int:
    """Returns the steps that all finished tasks have trained, of members and of candidates."""
    return sum(history.spent(id) for id in _last_told(history))


def _last_told(history: History) -> Iterator[int]:
    """Yields the newest finished task of every seat."""
    told, prev = history.column("told"), history.column("prev")
    for id in history.heads().tolist():
        while id >= 0 and told[id] >= history.lines:
            id = int(prev[id])
        if id >= 0:
            yield id


def _training(history: History, id: int | None) -> Iterator[int]:
    """Yields the candidates that led to one, from the last on."""
    while id is not None:
        yield id
        id = history.task(id).parent


def _told(history: History, id: int) -> Result:
    result = history.result(id)
    assert result is not None  # it is ok
    return result
