# ruff: noqa: E402
"""Environments keep one contract, whoever simulates them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("jax")
gymnasium = pytest.importorskip("gymnasium")

from poptrain._jax import jax, jnp
from poptrain.core.errors import UsageError
from poptrain.rl import envs
from poptrain.rl.envs import make
from poptrain.rl.envs.stepped import Stepped

try:
    import envpool  # noqa: F401

    BACKENDS = ("envpool", "gymnasium")
except ImportError:
    BACKENDS = ("gymnasium",)


def collect(simulator, n, ticks, action):
    """All arrivals of n environments, tick by tick, in the order of their ids."""
    rows = []
    for _ in range(ticks):
        seen = {}
        while len(seen) < n:
            arrival = simulator.recv()
            for i, *what in zip(*arrival, strict=True):
                seen[int(i)] = what
        rows.append([seen[i] for i in range(n)])
        simulator.send(action, np.arange(n, dtype=np.int32))
    simulator.close()
    columns = list(zip(*(zip(*row, strict=True) for row in rows), strict=True))
    return [np.asarray(column) for column in columns]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_last_tick_shows_the_state_reached_and_the_next_one_resets(backend):
    env = make("Pendulum-v1", backend)
    observations, rewards, terminated, truncated = collect(env.open([1, 2], 2, 5), 2, 13, np.zeros((2, 1), np.float32))
    assert np.array_equal(np.flatnonzero(truncated[:, 0]), [5, 11]) and not terminated.any()
    assert (rewards[[0, 6, 12]] == 0).all() and (rewards[[1, 5, 7]] != 0).all()
    moved = np.abs(np.diff(observations[:, 0], axis=0)).max(1)
    assert moved[4] < 1.0, "tick 5 continues from tick 4"
    again = collect(env.open([1, 2], 2, 5), 2, 13, np.zeros((2, 1), np.float32))[0]
    other = collect(env.open([3, 4], 2, 5), 2, 13, np.zeros((2, 1), np.float32))[0]
    assert np.array_equal(observations, again) and not np.allclose(observations, other)
    assert not np.allclose(observations[0], observations[6]), "every episode starts anew"


@pytest.mark.parametrize("backend", BACKENDS)
def test_falling_is_an_end_and_not_a_time_limit(backend):
    env = make("CartPole-v1", backend)
    assert env.spec.discrete and env.spec.actions == 2 and env.spec.horizon == 500
    _, _, terminated, truncated = collect(env.open([1, 2, 3, 4], 2, None), 4, 15, np.ones(4, np.int32))
    assert terminated.any(0).all() and not truncated.any()


@pytest.mark.parametrize("name", ["Pendulum-v1", "CartPole-v1"])
def test_pure_jax_environments_step_as_gymnasium_does(name):
    env, reference = make(f"jax/{name}"), gymnasium.make(name).unwrapped
    generator = np.random.default_rng(0)
    reference.reset(seed=0)
    for _ in range(50):
        state = generator.uniform(-1, 1, 2 if name == "Pendulum-v1" else 4) * ([3, 8] if name == "Pendulum-v1" else 0.3)
        reference.state = np.asarray(state)
        if name == "CartPole-v1":
            reference.steps_beyond_terminated = None
        action = generator.uniform(-3, 3, 1) if name == "Pendulum-v1" else generator.integers(0, 2, 1)
        observation, reward, terminated, *_ = reference.step(action if name == "Pendulum-v1" else int(action[0]))
        mine = tuple(jnp.float32(x) for x in state) if name == "Pendulum-v1" else jnp.asarray(state, jnp.float32)
        _, seen, gained, over = env.step(mine, jnp.asarray(action))
        assert np.allclose(seen, observation, atol=1e-4) and np.allclose(gained, reward, atol=1e-3)
        assert bool(over) == bool(terminated)


def test_fresh_jax_environments_differ_and_obey_their_time_limit():
    env = make("jax/Pendulum-v1")
    states = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 8))[1]
    assert len(np.unique(np.asarray(states)[:, 0])) == 8 and np.allclose(np.linalg.norm(states[:, :2], axis=1), 1, atol=1e-5)
    truncated = collect(Stepped(env, [1, 2], 4), 2, 6, np.zeros((2, 1)))[3]
    assert np.array_equal(truncated[:, 0], [False] * 4 + [True] * 2)


def test_unusual_spaces_are_flattened_or_refused():
    assert make("FrozenLake-v1", "gymnasium").spec.observation == 16  # one-hot
    with pytest.raises(UsageError, match="MultiDiscrete|Tuple"):
        envs.spaces.spec_of("x", gymnasium.spaces.Box(0, 1, (2,)), gymnasium.spaces.MultiDiscrete([2, 2]), None)
    nested = gymnasium.spaces.Dict({"b": gymnasium.spaces.Box(0, 1, (2, 2)), "a": gymnasium.spaces.Discrete(3)})
    flat = envs.spaces.flat_observations(nested, {"a": np.asarray([2, 0]), "b": np.ones((2, 2, 2))}, 2)
    assert flat.tolist() == [[0, 0, 1, 1, 1, 1, 1], [1, 0, 0, 1, 1, 1, 1]]


def test_an_action_is_always_inside_its_space_and_a_whole_one_is_the_nearest():
    boxes = gymnasium.spaces.Box
    for space in (boxes(-0.1, 0.3, (2,), np.float64), boxes(-0.1, 0.3, (), np.float32), boxes(-3, 4, (2, 1), np.int64)):
        spec = envs.spaces.spec_of("x", boxes(-1.0, 1.0, (1,)), space, None)
        for share in np.linspace(-1.0, 1.0, 101, dtype=np.float32):
            action = envs.spaces.native_action(space, spec.scaled(np.full((1, spec.actions), share, np.float32))[0])
            exact = np.float64(space.low) + (share + 1) / 2 * (np.float64(space.high) - space.low)
            assert space.contains(action) and np.abs(action - exact).max() <= (0.5 if space.dtype.kind == "i" else 1e-6) + 1e-6
    for low, high in ((0, np.iinfo(np.int64).max), (-3e38, 3e38)):  # float32 has no numbers between which, or beyond which
        kind = np.int64 if low == 0 else np.float32
        spec = envs.spaces.spec_of("x", boxes(-1.0, 1.0, (1,)), boxes(low, high, (1,), kind), None)
        with np.errstate(over="ignore"):
            assert not np.isfinite(np.subtract(spec.high, spec.low, dtype=np.float32)).all()


def test_a_space_without_a_number_is_refused():
    some, none = gymnasium.spaces.Box(-1.0, 1.0, (2,)), gymnasium.spaces.Box(-1.0, 1.0, (0,))
    for spaces, what in (((none, some), "observations"), ((some, none), "actions")):
        with pytest.raises(UsageError, match=f"'x': its {what} consist of no numbers"):
            envs.spaces.spec_of("x", *spaces, None)
    with pytest.raises(UsageError, match="'x': an observation of a MultiBinary space"):
        envs.spaces.spec_of("x", gymnasium.spaces.MultiBinary(3), some, None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jax/Pendulum-v2", "Did you mean 'jax/Pendulum-v1'"),
        ("BipedalWalker-v33", "Did you mean 'BipedalWalker-v3'"),
        ("Nonsense", "neither EnvPool nor Gymnasium has it"),
    ],
)
def test_an_unknown_environment_is_named(name, message):
    with pytest.raises(UsageError, match=message):
        make(name)


def test_without_envpool_gymnasium_steps_in_and_says_so_once(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "poptrain.rl.envs.envpool", None)
    envs._announced.clear()
    assert make("Pendulum-v1").spec.observation == 3
    make("Pendulum-v1")
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "Gymnasium" in lines[0]
    with pytest.raises(UsageError, match="pip install 'poptrain\\[rl\\]'"):
        make("Pendulum-v1", "envpool")
    monkeypatch.setitem(sys.modules, "poptrain.rl.envs.gymnasium", None)
    with pytest.raises(UsageError, match="pip install 'poptrain\\[rl\\]'"):
        make("Pendulum-v1")
