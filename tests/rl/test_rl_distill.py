"""Students that learn from a teacher (`rl.agents.ppo.lesson`), and architectures as static hyperparameters of PPO."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import poptrain as pt
from poptrain._jax import jax, jnp
from poptrain.core.errors import UsageError
from poptrain.rl.actor import Actor
from poptrain.rl.agents.ppo import PPO
from poptrain.rl.agents.ppo import lesson as lessons
from poptrain.rl.architecture import Architecture, Network, architecture_of, shapes_of
from poptrain.rl.distributions import CATEGORICAL, GAUSSIAN
from poptrain.rl.envs import make
from poptrain.rl.loops.device_interval import program_for
from poptrain.rl.nets import forward, init_params
from poptrain.rl.normaliser import init_normaliser
from poptrain.rl.spectral import effective, effective_on_host, refreshed

WIDE = {"policy_width": 16, "policy_layers": 2, "policy_spectral_norm": 1, "value_width": 12, "value_spectral_norm": 1}


def networks(seed: int, policy: tuple[int, ...] = (8,), spectral: bool = False, actions: int = 2):
    shape = Architecture(Network(policy, spectral), Network((8,)))
    return init_params(np.random.default_rng(seed), 3, shape, actions, actions)


@cache
def agent(**options) -> PPO:
    return PPO(
        env="jax/Pendulum-v1", hidden=(8,), num_envs=4, train_batch_size=64, minibatch_size=32, epochs=2, chunk=32, **options
    )


@cache
def teacher():
    carry = agent().init({}, [1, 2])
    return agent().train(carry, {}, 128, [3, 4])[0]


# -- the loss -------------------------------------------------------------------------------------------------------------


def test_alpha_falls_from_1_to_a_twentieth_over_four_fifths_and_never_rises():
    alphas = np.asarray(lessons.alpha_at(jnp.linspace(0.0, 1.0, 101)))
    assert alphas[0] == 1 and np.allclose(alphas[80:], 0.05) and (np.diff(alphas) <= 0).all()
    assert np.isclose(alphas[40], 0.525)


@pytest.mark.parametrize("distribution", [GAUSSIAN, CATEGORICAL])
def test_a_student_that_equals_its_teacher_has_no_loss_and_no_gradient(distribution):
    params, seen = networks(0), np.random.default_rng(1).normal(size=(3, 16)).astype(np.float32)
    answers = jnp.concatenate([forward(params["policy"], seen), forward(params["value"], seen)]).T

    def loss(student):
        outputs, value = forward(student["policy"], seen), forward(student["value"], seen)[0]
        kl, error = lessons.imitation(answers, {"params": params}, distribution, outputs, student["log_std"], value)
        return kl.mean() + error.mean()

    value, gradient = jax.value_and_grad(loss)(params)
    assert abs(value) < 1e-6 and all(np.abs(leaf).max() < 1e-6 for leaf in jax.tree.leaves(gradient))
    assert loss(networks(5)) > 1e-4


def test_the_divergence_is_that_of_the_student_from_the_teacher_and_not_the_other_way_round():
    answers, narrow = jnp.zeros((1, 2)), {"params": {"log_std": jnp.log(jnp.array([0.5]))}}
    kl, _ = lessons.imitation(answers, narrow, GAUSSIAN, jnp.ones((1, 1)), jnp.log(jnp.array([2.0])), jnp.zeros(1))
    assert np.isclose(kl[0], np.log(2.0 / 0.5) + (0.5**2 + 1) / (2 * 2.0**2) - 0.5)


def test_no_divergence_is_negative_and_each_depends_on_its_direction():
    draw = np.random.default_rng(3)
    for distribution, stds in ((GAUSSIAN, 2), (CATEGORICAL, 0)):
        a, b = (jnp.asarray(draw.normal(0, 2, (2, 200)), jnp.float32) for _ in range(2))
        std_a, std_b = (jnp.asarray(draw.normal(size=stds), jnp.float32) for _ in range(2))
        there, back = distribution.kl(a, std_a, b, std_b), distribution.kl(b, std_b, a, std_a)
        assert (there >= 0).all() and (back >= 0).all() and not np.allclose(there, back, rtol=1e-2)
        assert np.abs(distribution.kl(a, std_a, a, std_a)).max() < 1e-6


# -- architectures --------------------------------------------------------------------------------------------------------


def test_static_hyperparameters_choose_depth_width_and_spectral_normalisation():
    found = architecture_of("PPO", (64, 64), WIDE)
    assert found == Architecture(Network((16, 16), True), Network((12, 12), True))
    assert architecture_of("PPO", (64, 32), {}) == Architecture(Network((64, 32)), Network((64, 32)))
    assert architecture_of("PPO", (64, 32), {"value_layers": 3}).value.hidden == (64, 32, 32)
    for wrong, words in (({"policy_layers": 0}, "policy_layers=0"), ({"value_width": np.array([8, 16])}, "static=True")):
        with pytest.raises(UsageError, match=words):
            architecture_of("PPO", (64, 64), wrong)


def test_spectral_normalisation_divides_hidden_weights_by_their_largest_singular_value():
    params = networks(0, (8, 8), spectral=True)
    changed = [layer | {"w": layer["w"] + np.float32(0.2)} for layer in params["policy"]]
    layers = changed
    for _ in range(5):
        layers = refreshed(layers)
    for layer in layers[:-1]:
        assert np.isclose(np.linalg.norm(effective(layer), 2), 1, atol=1e-3)
        assert np.allclose(effective(layer), effective_on_host(layer), atol=1e-6)
    assert layers[-1].keys() == {"w", "b"} and shapes_of(params) != shapes_of(networks(0, (8, 8)))
    seen = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    spec = make("jax/Pendulum-v1").spec
    actor = Actor(spec, networks(0, (8, 8), spectral=True, actions=1), init_normaliser(3))
    assert np.allclose(actor.outputs(seen), forward(networks(0, (8, 8), True, 1)["policy"], seen.T).T, atol=1e-5)


# -- PPO, compiled ----------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_wider_student_takes_over_the_statistics_and_learns_from_its_teacher():
    fresh = agent().init(WIDE, [5, 6])
    first, before = agent().distill(fresh, teacher(), WIDE, 128, [7, 8], (0.0, 0.25))
    assert lessons.LESSON not in first and set(first) == set(fresh)
    assert (first["normaliser"]["count"] > teacher()["normaliser"]["count"]).all()
    second, after = agent().distill(first, teacher(), WIDE, 128, [9, 10], (0.25, 0.5))
    assert np.allclose(before["alpha"], lessons.alpha_at(jnp.float32(0.125)))  # two updates, and the second is at an eighth
    assert np.allclose(after["alpha"], lessons.alpha_at(jnp.float32(0.375)))
    assert np.isfinite(after["teacher_kl"]).all() and (after["updates"] == 4).all()
    agent().train(second, WIDE, 64, [11, 12])


@pytest.mark.heavy
def test_a_distillation_without_weights_is_plain_training():
    plain = agent(distill_policy=0.0, distill_value=0.0, distill_lr=None)
    taught, _ = plain.distill(teacher(), teacher(), {}, 128, [7, 8])
    alone, _ = plain.train(teacher(), {}, 128, [7, 8])
    for one, other in zip(jax.tree.leaves(taught["params"]), jax.tree.leaves(alone["params"]), strict=True):
        assert np.allclose(one, other, atol=1e-6)


@pytest.mark.heavy
def test_members_of_two_architectures_train_in_two_programs(tmp_path, monkeypatch):
    made = []

    def counted(env, members, functions, horizon):
        program = program_for(env, members, functions, horizon)
        made.append((functions.shapes, members, program))
        return program

    monkeypatch.setattr("poptrain.rl.on_policy.program_for", counted)
    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-2), policy_width=pt.Ordinal(8, 16, static=True))
    algorithm = pt.pbt(space, population=4, interval=64, initial=[{"policy_width": width} for width in (8, 16, 8, 16)])
    run = pt.run(algorithm, agent(), stop=pt.steps(128), executor="vectorized", directory=tmp_path / "run", progress=False)
    widths = {task.hparams["policy_width"] for task in map(run.history.task, run.history.heads().tolist())}
    assert widths <= {8, 16} and all(run.history.oks)
    lines = [run.history.line(number) for number in range(run.history.lines)]
    rounds = sum(isinstance(line[0], pt.Task) and line[0].steps > 0 for line in lines)
    assert len({shapes for shapes, _, _ in made}) == 2 < len(made) and rounds == 2, "one program for each architecture"
    assert len({id(program) for *_, program in made}) == len({(shapes, members) for shapes, members, _ in made}), (
        "none is made again"
    )
