"""What the host loop says about an interval before it trains it."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("envpool")

from poptrain.rl import PPO, TD3  # noqa: E402
from poptrain.rl.loops.host import warn_if_short  # noqa: E402


def test_an_interval_shorter_than_an_episode_is_warned_about_and_the_rest_of_a_budget_is_not():
    backend = SimpleNamespace(spec=SimpleNamespace(name="TooShort-v0", horizon=200))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_short(backend, None, 1_600, 8)
        warn_if_short(backend, None, 500, 8)  # the last one
    with pytest.warns(UserWarning, match="62 steps in each of 8 environments, fewer than the longest episode"):
        warn_if_short(SimpleNamespace(spec=SimpleNamespace(name="TooShort-v1", horizon=200)), None, 500, 8)


def test_agents_know_how_long_their_episodes_may_be_unless_they_go_on_in_the_next_interval():
    assert PPO(env="Pendulum-v1", num_envs=8, backend="gymnasium").episode_limit() == (200, 8, 1)
    assert TD3(env="Pendulum-v1", horizon=50, backend="gymnasium").episode_limit() == (50, 1, 1)
    assert PPO(env="jax/Pendulum-v1").episode_limit() is None, "an environment in JAX"


def test_an_interval_may_be_shorter_than_one_tick_of_all_environments():
    """Each interval of one step leaves a tick with one transition and a mark, which is more than a recording usually takes."""
    agent = PPO(env="Pendulum-v1", hidden=(4,), horizon=5, num_envs=4, train_batch_size=24, minibatch_size=8, epochs=1)
    carry, longest = agent.init({}, np.asarray([1, 2])), 0
    for step in range(30):
        carry, metrics = agent.train(carry, {}, 1, np.asarray([step, step + 100]))
        longest = max(longest, int(carry["buffer"]["ticks"].max()))
    assert metrics["updates"].tolist() == [1, 1] and longest > 3 * 24 / 4 + 2
    assert carry["buffer"]["n"].tolist() == [9, 9]  # an update comes when no further whole tick fits in the batch, after 21
