"""What the host loop says about an interval before it trains it."""

import warnings
from types import SimpleNamespace

import pytest

pytest.importorskip("envpool")

from poptrain.rl.loops.host import warn_if_short  # noqa: E402


def test_an_interval_shorter_than_an_episode_is_warned_about_and_the_rest_of_a_budget_is_not():
    backend = SimpleNamespace(spec=SimpleNamespace(name="TooShort-v0", horizon=200))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_short(backend, None, 1_600, 8)
        warn_if_short(backend, None, 500, 8)  # the last one
    with pytest.warns(UserWarning, match="62 steps in each of 8 environments, fewer than the longest episode"):
        warn_if_short(SimpleNamespace(spec=SimpleNamespace(name="TooShort-v1", horizon=200)), None, 500, 8)
