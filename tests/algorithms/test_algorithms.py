"""Every algorithm against the laws of the house: one row an algorithm."""

from __future__ import annotations

from typing import ClassVar

import pytest

import poptrain as pt
from poptrain.algorithms.parts.turns import FrozenDict
from poptrain.algorithms.schedule_replay import Piece
from poptrain.testing import AlgorithmContract, play
from poptrain.testing.simulate import noisy

ROWS = {
    "random_search": (
        lambda space: pt.random_search(space, population=6, interval=5),
        {"sync": False, "clones": False, "independent": True},
    ),
    "grid_search": (
        lambda space: pt.grid_search(space, levels=2, interval=25),  # 72 members
        {"sync": False, "clones": False, "independent": True},
    ),
    "pbt": (lambda space: pt.pbt(space, population=8, interval=5, exploit=pt.truncation(0.4)), {}),
    "pbt alone": (lambda space: pt.pbt(space, population=1, interval=5), {"clones": False}),
    "pbt async": (lambda space: pt.pbt(space, population=8, interval=5, sync=False, exploit=pt.truncation(0.4)), {"sync": False}),
    "pbt welch": (
        lambda space: pt.pbt(space, population=8, interval=5, exploit=pt.welch(alpha=0.3)),
        {"rank_based": False},  # a t-test is invariant to affine transforms only
    ),
    "pbt tournament": (lambda space: pt.pbt(space, population=8, interval=5, exploit=pt.tournament()), {}),
    "pbt tournament async, ties": (
        lambda space: pt.pbt(space, population=8, interval=5, sync=False, exploit=pt.tournament(ties=True)),
        {"sync": False},
    ),
    "pbt additive, weights": (
        lambda space: pt.pbt(
            space, population=8, interval=5, explore=pt.additive(0.2), copy="weights", exploit=pt.truncation(0.4)
        ),
        {},
    ),
    "pbt resample, hparams": (
        lambda space: pt.pbt(space, population=8, interval=5, explore=pt.resample(), copy="hparams", warmup=10),
        {"clones": False},
    ),
    "pbt averaged": (
        lambda space: pt.pbt(space, population=8, interval=5, average=3, exploit=pt.truncation(0.4)),
        {"rank_based": False},  # a mean of scores is invariant to affine transforms only
    ),
    "pbt with controls": (
        lambda space: pt.pbt(space, population=8, interval=5, exploit=pt.truncation(0.4), controls=2),
        {},
    ),
    "pbt with controls, async": (
        lambda space: pt.pbt(space, population=8, interval=5, sync=False, exploit=pt.tournament(ties=True), controls=3),
        {"sync": False},
    ),
    "fire_pbt": (
        lambda space: pt.fire_pbt(space, (4, 4), interval=5, evals=5, exploit=pt.truncation(0.4)),
        {"rank_based": False},  # differences of scores are added up
    ),
    "fire_pbt of three": (
        lambda space: pt.fire_pbt(space, (3, 3, 3), interval=5, evals=5, warmup=(0, 10), max_eval=10, exploit=pt.truncation(0.4)),
        {"rank_based": False},
    ),
}


def schedules(space):
    """Three schedules over any space: one that changes twice, one that was recorded task by task, one constant."""
    draws = [space.sample(pt.rng(0, "schedule", k)) for k in range(3)]
    same = [{**draw, **{name: draws[0][name] for name in space.static_names}} for draw in draws]
    tasks = [Piece(start, FrozenDict(same[k]), 5) for k, start in enumerate((0, 5, 10))]
    return [[(0, same[0]), (7, same[1]), (13, same[2])], tasks, [(0, same[1])]]


ROWS |= {
    "schedule_replay": (lambda space: pt.schedule_replay(schedules(space), space=space), {"sync": False, "clones": False}),
    "schedule_replay cut": (
        lambda space: pt.schedule_replay(schedules(space), space=space, interval=4),
        {"sync": False, "clones": False},
    ),
}


# One short asynchronous play holds no two clones of one parent, so that law is left to the others.
# A window of 8 rows keeps the fits of the Gaussian processes short, and one play each their number.
SMALL = {"population": 4, "interval": 17, "window": 8, "exploit": pt.truncation(0.5)}
FEW = {"rank_based": False, "seeds": (0,), "orders": ("shuffled",)}  # a process is invariant to affine transforms only
ROWS |= {
    "pb2": (lambda space: pt.pb2(space, **SMALL), FEW),
    "pb2 async": (lambda space: pt.pb2(space, sync=False, **SMALL), {**FEW, "sync": False, "clones": False}),
    "pb2_mult": (lambda space: pt.pb2_mult(space, **SMALL), FEW),
    "pb2_mix": (lambda space: pt.pb2_mix(space, **SMALL), FEW),
    "bg_pbt": (lambda space: pt.bg_pbt(space, retune=1.0, **SMALL), FEW),
    "bg_pbt async": (lambda space: pt.bg_pbt(space, sync=False, **SMALL), {**FEW, "sync": False, "clones": False}),
    "bg_pbt generations": (
        lambda space: pt.bg_pbt(space, generations=pt.Generations(distill=4, every=17, most=1, candidates=5), **SMALL),
        {**FEW, "lineage_clock": False},
    ),
    "pb2_mix async": (lambda space: pt.pb2_mix(space, sync=False, **SMALL), {**FEW, "sync": False, "clones": False}),
}


# Ten runs come before the first one that a sampler proposes by its model.
SEARCH = {"sync": False, "clones": False, "seeds": (0,), "orders": ("shuffled",)}
HEAVY = {
    "bg_pbt generations, async": (
        lambda space: pt.bg_pbt(
            space, sync=False, generations=pt.Generations(distill=4, every=17, most=1, candidates=5), **SMALL
        ),
        {**FEW, "sync": False, "clones": False, "lineage_clock": False},
    ),
    "optuna_search": (lambda space: pt.optuna_search(space, population=14), SEARCH),
    "optuna_search, three at a time": (lambda space: pt.optuna_search(space, population=14, parallel=3, interval=10), SEARCH),
    "optuna_search, random": (lambda space: pt.optuna_search(space, population=6, parallel=2, sampler="random"), SEARCH),
    "optuna_search, gp": (
        lambda space: pt.optuna_search(space, population=11, sampler="gp"),
        {**SEARCH, "rank_based": False},
    ),
}
ROWS |= HEAVY
# Variants whose parts other rows have; they are for `make test-all`.
VARIANTS = (
    "pbt tournament async, ties", "pbt welch", "pbt averaged", "pbt resample, hparams", "pbt with controls", "fire_pbt of three",
    "bg_pbt async", "pb2_mix async",
)  # fmt: skip
LATER = {*HEAVY, *VARIANTS}


@pytest.mark.parametrize("row", [pytest.param(row, marks=[pytest.mark.heavy] if row in LATER else []) for row in ROWS])
class TestLaws(AlgorithmContract):
    seeds = (0, 1)
    played: ClassVar = {}  # the undisturbed plays of a row, which most laws look at

    @pytest.fixture(autouse=True)
    def _row(self, row):
        self.row = row
        self.factory, options = ROWS[row]
        for name, value in options.items():
            setattr(self, name, value)

    def make(self, space):
        return self.factory(space)

    def plays(self, objective=noisy, **options):
        key = (self.row, objective, *sorted(options.items()))
        if key not in self.played:
            self.played[key] = self.played_now(objective, **options)
        return self.played[key]

    def played_now(self, objective=noisy, budget=50):
        """Returns a play in each order, each of another seed; of rows that are for `make test-all`, each order of each seed."""
        if self.row in LATER:
            return super().plays(objective, budget)
        return [play(self.algorithm(), objective, seed=seed, budget=budget, order=o) for seed, o in enumerate(self.orders)]

    def test_deterministic_in_seed_and_history(self):
        for first, second in zip(self.plays(), self.played_now(), strict=True):
            assert [first.line(k) for k in range(first.lines)] == [second.line(k) for k in range(second.lines)]


def test_what_controls_score_changes_nothing_for_the_others():
    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
    for sync in (True, False):
        algorithm = pt.pbt(space, population=6, interval=5, sync=sync, controls=2)
        plain = play(algorithm, noisy)
        other = play(algorithm, lambda history, task: noisy(history, task) + (1e6 if task.member >= 4 else 0.0))
        assert [plain.task(id) for id in range(plain.n)] == [other.task(id) for id in range(other.n)]


def test_too_many_controls_are_refused():
    with pytest.raises(pt.UsageError, match="leave at least 2"):
        pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=4, interval=5, controls=3)
