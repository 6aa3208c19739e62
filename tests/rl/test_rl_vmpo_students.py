# ruff: noqa: E402
"""V-MPO with teachers and tunable architectures: what it adds to PPO's lessons, whose losses `test_rl_distill` tests."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import poptrain as pt

pytest.importorskip("jax")

from poptrain._jax import jax
from poptrain.core.errors import UsageError
from poptrain.rl import VMPO
from poptrain.rl.agents.ppo import lesson as lessons

SIZES = {"hidden": (8,), "num_envs": 4, "horizon": 20, "train_batch_size": 64, "minibatch_size": 32, "epochs": 2, "chunk": 32}
WIDE = {"policy_width": 16, "policy_layers": 2, "policy_spectral_norm": 1, "value_width": 12}
SEEDS = [1, 2]


@cache
def agent(**options) -> VMPO:
    return VMPO(env="jax/Pendulum-v1", **(SIZES | options))


@cache
def teacher():
    return agent().train(agent().init({}, SEEDS), {}, 128, [3, 4])[0]


def same(one, other):
    leaves = zip(jax.tree.leaves(one["params"]), jax.tree.leaves(other["params"]), strict=True)
    return all(np.allclose(a, b, atol=1e-6) for a, b in leaves)


@pytest.mark.heavy
def test_a_student_that_equals_its_teacher_moves_as_if_it_had_none_in_the_first_step():
    single = agent(epochs=1, minibatch_size=64)  # one step for each batch
    alone, _ = single.train(teacher(), {}, 64, [7, 8])
    taught, about = single.distill(teacher(), teacher(), {}, 64, [7, 8])
    assert (about["updates"] == 3).all() and np.abs(about["teacher_kl"]).max() < 1e-6 and about["teacher_value_loss"].max() < 1e-8
    assert same(alone, taught) and not same(alone, teacher())
    other, about = single.distill(teacher(), single.gather([(teacher(), 1), (teacher(), 0)]), {}, 64, [7, 8])
    assert about["teacher_kl"].min() > 0 and about["teacher_value_loss"].min() > 0 and not same(alone, other)


@pytest.mark.heavy
def test_a_distillation_without_weights_is_plain_training():
    plain = agent(distill_policy=0.0, distill_value=0.0)
    taught, _ = plain.distill(teacher(), teacher(), {}, 128, [7, 8])
    assert same(taught, plain.train(teacher(), {}, 128, [7, 8])[0])


@pytest.mark.heavy
def test_a_wider_student_comes_near_its_teacher_and_alpha_goes_on():
    strong = agent(distill_policy=50.0, lr=3e-3, epochs=10)
    fresh = strong.init(WIDE, [5, 6])
    assert len(fresh["params"]["policy"]) == 3 and fresh["params"]["policy"][0]["w"].shape[-1] == 16
    first, before = strong.distill(fresh, teacher(), WIDE, 256, [7, 8], (0.0, 0.25))
    assert lessons.LESSON not in first and set(first) == set(fresh)
    assert (first["normaliser"]["count"] > teacher()["normaliser"]["count"]).all()
    second, after = strong.distill(first, teacher(), WIDE, 256, [9, 10], (0.25, 0.5))
    assert np.allclose(before["alpha"], lessons.alpha_at(np.float32(0.1875)))  # four updates; the last is at three quarters
    assert np.allclose(after["alpha"], lessons.alpha_at(np.float32(0.4375)))
    loose = agent(distill_policy=0.0, distill_value=0.0, lr=3e-3, epochs=10)  # the weights do not change the program
    alone, apart = loose.distill(fresh, teacher(), WIDE, 256, [7, 8], (0.0, 0.25))
    _, still = loose.distill(alone, teacher(), WIDE, 256, [9, 10], (0.25, 0.5))
    assert (before["teacher_kl"] < apart["teacher_kl"]).all() and (after["teacher_kl"] < still["teacher_kl"]).all()
    strong.train(second, WIDE, 64, [11, 12])


@pytest.mark.heavy
def test_generations_change_the_architectures_of_vmpo(tmp_path):
    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-2), policy_width=pt.Ordinal(4, 8, static=True))
    generations = pt.Generations(distill=128, every=64, most=1, candidates=4)
    algorithm = pt.bg_pbt(space, population=2, interval=64, exploit=pt.truncation(0.5), generations=generations)
    experiment = pt.Experiment(algorithm, agent(), stop=pt.steps(384), executor="vectorized")
    history = pt.run(experiment, directory=tmp_path / "run", progress=False).history
    students = [task for task in map(history.task, range(history.n)) if task.teacher is not None]
    assert history.oks.all() and {task.hparams["policy_width"] for task in students} == {4, 8}
    assert pt.verify(tmp_path / "run", experiment).ok


def test_a_part_of_the_architecture_must_be_static_and_settings_of_teachers_are_checked():
    with pytest.raises(UsageError, match="VMPO: policy_width changes the shapes .* static=True"):
        agent().check_space(pt.Space(policy_width=pt.Ordinal(4, 8)), None)
    agent().check_space(pt.Space(policy_width=pt.Ordinal(4, 8, static=True)), None)
    with pytest.raises(UsageError, match="distill_policy"):
        agent(distill_policy=-1.0)
