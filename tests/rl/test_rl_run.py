"""PPO populations through `run`: exact resume, other executors, and hyperparameters that are really used."""

from __future__ import annotations

import numpy as np
import pytest

import poptrain as pt

pytest.importorskip("jax")
from poptrain.rl import PPO  # noqa: E402

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-2), train_batch_size=pt.Int(128, 700))
AGENT = PPO(env="jax/CartPole-v1", hidden=(8,), num_envs=4, epochs=2, minibatch_size=64, max_batch=700)


def run(directory=None, steps=1024, executor="vectorized", agent=AGENT, space=SPACE):
    algorithm = pt.pbt(space, population=3, interval=256, exploit=pt.truncation(0.34))
    return pt.run(algorithm, agent, stop=pt.steps(steps), executor=executor, directory=directory)


@pytest.mark.parametrize("env", ["jax/CartPole-v1", "CartPole-v1"], ids=["compiled", "simulated"])
def test_resume_in_the_middle_of_a_batch_is_bit_equal(env, tmp_path):
    agent = PPO(env=env, hidden=(8,), num_envs=4, epochs=2, minibatch_size=64, max_batch=700)
    whole = run(agent=agent)
    run(tmp_path / "r", steps=512, agent=agent)
    resumed = run(tmp_path / "r", agent=agent)
    np.testing.assert_array_equal(whole.history.scores, resumed.history.scores)
    assert whole.best.hparams == resumed.best.hparams
    for mine, theirs in zip(_leaves(whole.best.load()), _leaves(resumed.best.load()), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_one_member_at_a_time_learns_the_same_as_all_at_once():
    one, together = run(executor="inline"), run()
    np.testing.assert_allclose(one.history.scores, together.history.scores, rtol=1e-3)


def test_a_tuned_learning_rate_is_the_one_that_trains():
    def weights(lr):
        space = pt.Space(lr=pt.Choice(lr), train_batch_size=pt.Choice(128))
        carry = run(space=space, steps=256).member(0).load()
        return np.concatenate([np.ravel(leaf) for leaf in _leaves(carry["params"])])

    assert np.array_equal(weights(1e-3), weights(1e-3)) and not np.allclose(weights(1e-3), weights(1e-2))


def test_an_unknown_hyperparameter_is_refused_with_the_nearest_name():
    with pytest.raises(pt.UsageError, match="Did you mean 'gae_lambda'"):
        run(space=pt.Space(gae_lamda=pt.Uniform(0.9, 1.0)))


def _leaves(tree):
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in _leaves(value)]
    if isinstance(tree, (list, tuple)):
        return [leaf for value in tree for leaf in _leaves(value)]
    return [np.asarray(tree)]
