"""FIRE PBT in one JAX program: evaluators come and go without a new program, and dying in an evaluation changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

import poptrain as pt
from poptrain._jax import jax, jnp
from poptrain.log.writer import Log

CURVATURE = np.array([1.0, 0.3, 0.1, 0.03], "float32")
SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1.0, init=(1e-2, 1.0)))
SIZES = dict(interval=16, evals=8, exploit=pt.truncation(0.34), warmup=(32, 64), max_eval=16)
FIRE = pt.fire_pbt(SPACE, (4, 4, 4), as_in="paper", **SIZES)


def descend(m, lr, steps):
    return jax.lax.fori_loop(0, steps, lambda _, m: (1 - lr * CURVATURE) ** 2 * m + lr**2 * 0.1 * CURVATURE, m)


def pair(traced):
    """The noisy quadratic as a pure pair; `traced` grows whenever a program is made."""

    def train(carry, hp, steps, key):
        traced.append(steps)
        m = descend(carry["m"], hp["lr"], steps)
        noise = 0.01 * (key[1] % 1024).astype(jnp.float32) / 1024
        return {"m": m}, {"score": -jnp.log10(m @ CURVATURE / 2) + noise}

    return pt.jax_trainable(lambda hp, key: {"m": jnp.ones(4)}, train)


def run(rounds, traced, directory=None, algorithm=FIRE, seed=2):
    return pt.run(algorithm, pair(traced), stop=pt.generations(rounds), executor="vectorized", seed=seed, directory=directory)


@pytest.fixture(scope="module")
def straight():
    traced = []
    return run(14, traced), traced


def facts(made):
    lines = [made.history.line(number) for number in range(made.history.lines)]
    return [
        fact if hasattr(fact, "hparams") else (fact.task, fact.score, fact.step, tuple(fact.curve))
        for line in lines
        for fact in line
    ]


def source(history, task):
    return None if task.parent is None else history.task(task.parent).member


def test_any_number_of_busy_evaluators_trains_in_one_program(straight):
    made, traced = straight
    history, rounds = made.history, {}
    for task in map(history.task, range(history.n)):
        rounds.setdefault(history.step(task.parent), []).append(task.evaluator)
    busy = [sum(evaluators) for evaluators in rounds.values()]
    assert {0, 4, 6} >= set(busy[:4]) and busy[0] == 0 and len(set(busy)) >= 3, "the number of evaluators varies"
    assert traced == [2], "one program, of one chunk: two steps"


def test_a_hand_over_gives_the_child_the_weights_of_the_evaluator(straight):
    made, _ = straight
    history, population = made.history, FIRE.population
    handed = [task for task in map(history.task, range(history.n)) if task.member < population <= (source(history, task) or 0)]
    assert handed
    for task in handed:  # the weights, retraced from the start along the lineage, end in the child's scores
        m = np.ones(4)
        for id in history.ancestry(task.id):
            lr = np.float64(np.float32(history.task(id).hparams["lr"]))
            for _ in range(history.task(id).steps):
                m = (1 - lr * CURVATURE) ** 2 * m + lr**2 * 0.1 * CURVATURE
        assert 0 <= history.score(task.id) + np.log10(m @ CURVATURE / 2) <= 0.01 + 1e-4


class Dies(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("dies_at", [10, 15, 16, 21])
def test_dying_in_the_middle_of_evaluations_changes_not_one_bit(straight, tmp_path, monkeypatch, dies_at):
    made, _ = straight
    append, count = Log.append, 0

    def dying(self, line, **how):
        nonlocal count
        append(self, line, **how)
        count += 1
        if count == dies_at:
            raise Dies

    traced = []
    with monkeypatch.context() as patch, pytest.raises(Dies):
        patch.setattr(Log, "append", dying)
        run(14, traced, tmp_path / "run")
    broken = pt.open_run(tmp_path / "run")
    last = [broken.history.task(int(id)) for id in broken.history.heads()[FIRE.population :] if id >= 0]
    assert any(source(broken.history, task) == task.member for task in last), "evaluations of several rounds are going on"
    assert facts(run(14, traced, tmp_path / "run")) == facts(made)
    assert traced == [2, 2], "one program in each sitting"


def test_one_sub_population_is_pbt_here_too():
    settings = dict(interval=16, exploit=pt.truncation(0.25), explore=pt.perturb((0.5, 0.8, 1.25, 2.0), resample=0))
    mine = run(8, [], algorithm=pt.fire_pbt(SPACE, (8,), evals=1, **settings))
    assert facts(mine) == facts(run(8, [], algorithm=pt.pbt(SPACE, 8, **settings)))
