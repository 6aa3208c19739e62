"""What the host loop says about an interval before it trains it."""

import warnings
from types import SimpleNamespace

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
