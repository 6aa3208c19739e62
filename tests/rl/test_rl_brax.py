# ruff: noqa: E402
"""Brax's robots are environments like all others: pure, resumable, and refused by name if they do not exist."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax")

from poptrain._jax import jax
from poptrain.checkpoints import carry as carries
from poptrain.core.errors import MissingExtra, UsageError
from poptrain.rl import PPO, TD3, envs
from poptrain.rl.envs.pictures import pictures
from poptrain.rl.envs.spec import simulated

PENDULUM = "brax/inverted_pendulum"


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_a_robot_has_no_pictures_and_its_simulation_is_named():
    with pytest.raises(UsageError, match="Train on 'Walker2d-v5'"):
        next(pictures("brax/walker2d", lambda seen: seen, 0))


def test_the_extra_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(envs, "_optional", lambda package: None)
    with pytest.raises(MissingExtra, match=r"pip install 'poptrain\[rl,brax\]'"):
        envs.make("brax/ant")


def test_the_robots_of_brax_have_the_names_of_their_simulations():
    pool = pytest.importorskip("poptrain.rl.envs.envpool")
    robots = ["ant", "halfcheetah", "hopper", "humanoid", "humanoidstandup", "inverted_pendulum", "inverted_double_pendulum"]
    robots += ["pusher", "reacher", "swimmer", "walker2d"]
    assert {simulated(f"brax/{robot}/mjx") for robot in robots} <= set(pool.names())
    assert simulated("jax/Pendulum-v1") == "Pendulum-v1"


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("brax/antt", "Did you mean 'brax/ant'"),
        ("brax/ur5e", "unknown environment 'brax/ur5e': expected one of brax/ant"),
        ("brax/ant/fast", "/spring, /positional, /generalized, /mjx"),
        ("delayed/brax/ant", "cannot be delayed"),
    ],
)
def test_what_brax_does_not_have_is_refused(name, message):
    pytest.importorskip("brax")
    with pytest.raises(UsageError, match=message):
        envs.make(name)


@pytest.mark.heavy
def test_a_state_is_plain_arrays_and_an_episode_is_a_function_of_its_key():
    pytest.importorskip("brax")
    env = envs.make(PENDULUM)
    reset, step = jax.jit(env.reset), jax.jit(env.step)

    def episode(seed):
        state, seen = reset(jax.random.key(seed))
        kinds, rows = [(x.shape, x.dtype) for x in state], [seen]
        for _ in range(30):
            state, seen, reward, over = step(state, np.ones(env.spec.actions, np.float32))
            assert isinstance(state, tuple) and [(x.shape, x.dtype) for x in state] == kinds
            rows.append(seen)
        return np.asarray(rows), bool(over), float(reward)

    (first, over, _), (again, *_), (other, *_) = episode(0), episode(0), episode(1)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.shape == (31, env.spec.observation) and over, "a pendulum that is pushed to one side falls"


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (PPO, {"num_envs": 4, "train_batch_size": 64, "minibatch_size": 32, "epochs": 2}),
        (TD3, {"batch_size": 16, "learning_starts": 32, "update_every": 16, "memory": 512}),
    ],
    ids=["on-policy", "off-policy"],
)
def test_agents_train_on_robots_and_a_stored_copy_continues_exactly(kind, settings):
    pytest.importorskip("brax")
    agent, seeds = kind(env=PENDULUM, hidden=(8,), **settings), np.asarray([1, 2])
    start, _ = agent.train(agent.init({}, seeds), {}, 128, seeds)
    once, metrics = agent.train(start, {}, 128, seeds + 5)
    assert metrics["steps"].tolist() == [128, 128] and all(metrics["updates"] > 0)
    restored = carries.stacked(carries.unflatten(*carries.flatten(carries.lane(start, 1))))
    assert same(
        agent.train(agent.gather([(restored, 0), (start, 1)]), {}, 128, seeds[[1, 1]] + 5)[0], agent.gather([(once, 1)] * 2)
    )
