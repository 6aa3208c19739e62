"""Who competes, at equal cost: a population of n members trains n times the budget of one member in all.

A contender is a name and a function ``(problem, population, seed) -> Outcome``. One that is an algorithm of poptrain is one line
of `CONTENDERS`: ``using(factory)``, where ``factory(space, population, interval=…)`` returns the algorithm.

* `random`: n configurations are drawn and trained to the end; the one with the best last score is reported.
* `best_of`: the truly best member of the same runs of `random`, seen without noise. No user can pick it; a method that beats it
  has done more than to pick well. It costs no runs of its own.
* `tpe`: n trainings one after another, proposed by Optuna's TPE; the first n / 4, at least 2, are random. It takes n times the
  wall time of the others.
* `halving`: Optuna's TPE with its pruner `SuccessiveHalvingPruner` (a quarter is kept after 1, 4, 16 … rounds), one training
  after another until the steps of n whole trainings are spent.
* `pbt`, `pb2`, `pb2_mix`, `pb2_mult`, `bg_pbt` (without generations): as a user gets them;
  `pbt_paper`, `pb2_paper`: with ``as_in="paper"``; `pbt_01`: with the defaults of
  version 0.1 (those of its PB2 are `pb2_paper`); `pbt_375`: three of eight members are replaced, not two.
* `fire`: FIRE PBT with n seats in all, evaluators included; from 8 on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import poptrain as pt
from benchmarks.value.halving import halved, tpe_sampler


class Task(Protocol):
    """What contenders need of a problem; `problem.Problem` is one."""

    name: str
    half: str
    space: pt.Space
    interval: int

    untrained: float
    look_at_all: bool

    @property
    def rounds(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def trainable(self) -> Any: ...
    @property
    def executor(self) -> Any: ...
    def quality(self, carry: Any, seed: int) -> float:
        """Returns what a training state is worth, by a judge that no contender saw."""


@dataclass(frozen=True)
class Outcome:
    """What a contender returns: the quality of the reported member, that of its truly best one, and the steps that it trained."""

    value: float
    top: float
    steps: int


Contender = Callable[[Any, int, int], Outcome | None]
Factory = Callable[..., Any]


def using(factory: Factory) -> Contender:
    """Returns the contender of an algorithm: the reported member is `run.final_best`, the default of the library."""

    def contend(task: Any, population: int, seed: int) -> Outcome | None:
        algorithm = factory(task.space, population=population, interval=task.interval)
        if algorithm is None:
            return None
        try:
            run = pt.run(algorithm, task.trainable, stop=pt.steps(task.steps), seed=seed, executor=task.executor)
        except pt.errors.RunFailed:  # no healthy member is left: nothing to report but an untrained one
            return Outcome(task.untrained, task.untrained, 0)
        history = run.history
        steps = sum(history.task(id).steps for id in range(history.n))
        alive = [seat for seat in range(history.seats) if (head := history.head(seat)) >= 0 and history.ok(head)]
        value = task.quality(run.final_best.load(), seed)
        others = [task.quality(run.member(seat).load(), seed) for seat in alive] if task.look_at_all else []
        return Outcome(value, max([value, *others]), steps)

    return contend


def tpe(space: pt.Space, population: int, interval: int) -> Any:
    """Returns sequential search with Optuna's TPE, at the cost of `population` members."""
    return pt.optuna_search(space, population, sampler=lambda seed: tpe_sampler(seed, population))


def fire(space: pt.Space, population: int, interval: int) -> Any:
    """Returns FIRE PBT with `population` seats: a quarter parents, a quarter evaluators; its defaults have 22; None below 8."""
    if population < 8:
        return None
    if population == 22:
        return pt.fire_pbt(space, interval=interval)
    quarter = population // 4
    fraction = max(0.25, 1 / quarter)
    return pt.fire_pbt(space, (population - 2 * quarter, quarter), quarter, interval=interval, exploit=pt.truncation(fraction))


def selection(space: pt.Space, population: int, interval: int) -> Any:
    """Returns PBT that copies and never changes a value."""
    return pt.pbt(space, population, interval=interval, explore=None)


CONTENDERS: dict[str, Contender] = {
    "random": using(lambda space, **size: pt.random_search(space, **size)),
    "tpe": using(tpe),
    "halving": lambda task, population, seed: Outcome(*halved(task, population, seed)),
    "selection": using(selection),
    "pbt_paper": using(lambda space, **size: pt.pbt(space, as_in="paper", **size)),
    "pb2_paper": using(lambda space, **size: pt.pb2(space, as_in="paper", **size)),
    "pbt_01": using(
        lambda space, **size: pt.pbt(space, exploit=pt.truncation(0.2), explore=pt.perturb(), starts="random", **size)
    ),
    "pbt": using(lambda space, **size: pt.pbt(space, **size)),
    "pbt_375": using(lambda space, **size: pt.pbt(space, exploit=pt.truncation(0.375), **size)),
    "pb2": using(lambda space, **size: pt.pb2(space, **size)),
    "pb2_mix": using(lambda space, **size: pt.pb2_mix(space, **size)),
    "pb2_mult": using(lambda space, **size: pt.pb2_mult(space, **size)),
    "bg_pbt": using(lambda space, **size: pt.bg_pbt(space, **size)),
    "fire": using(fire),
}
DEFAULT = ("random", "tpe", "halving", "pbt_01", "pb2_paper", "pbt", "pb2", "bg_pbt", "fire")
DERIVED = {"best_of": "random"}  # a contender whose value is the `top` of another one


def contend(name: str, task: Any, population: int, seed: int) -> Outcome | None:
    """Runs a contender; None if it cannot compete, because it has too few seats."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CONTENDERS[name](task, population, seed)
