# ruff: noqa: E402
"""SAC: the density of squashed actions, the temperature, the targets, and the agent as a population."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("gymnasium")

from poptrain._jax import jax, jnp
from poptrain.checkpoints import carry as carries
from poptrain.core.errors import UsageError
from poptrain.core.rng import rng
from poptrain.rl import SAC
from poptrain.rl.agents import sac
from poptrain.rl.memory.rows import Transitions
from poptrain.rl.mlp import host_mlp

pytestmark = pytest.mark.filterwarnings("ignore:.*fewer than the longest episode")
SMALL = {"horizon": 50, "hidden": (16,), "batch_size": 16, "learning_starts": 60, "memory": 512, "update_every": 10}
HOST, DEVICE = SAC(env="Pendulum-v1", **SMALL), SAC(env="jax/Pendulum-v1", **SMALL)
EACH = [pytest.param(HOST, id="simulated"), pytest.param(DEVICE, id="compiled")]
SEEDS = np.asarray([11, 12])


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


# -- the density ----------------------------------------------------------------------------------------------------------


def test_the_density_is_the_numerical_one_of_squashed_draws():
    outputs = np.asarray([[0.4, np.log(0.5)]], np.float32)
    edges = np.linspace(-0.95, 0.95, 20)
    noise = np.random.default_rng(0).normal(size=(400_000, 1)).astype(np.float32)
    actions = np.asarray(sac.draw(np.repeat(outputs, len(noise), 0), noise)[0])[:, 0]
    counted = np.histogram(actions, edges)[0] / len(noise) / np.diff(edges)
    middle = np.arctanh(0.5 * (edges[1:] + edges[:-1]))
    given = ((middle - 0.4) / 0.5)[:, None].astype(np.float32)
    density = np.exp(np.asarray(sac.draw(np.repeat(outputs, len(given), 0), given)[1]))
    np.testing.assert_allclose(counted, density, rtol=0.01, atol=0.015)


def test_the_density_of_several_dimensions_adds_up_to_one_over_the_square():
    grid = np.linspace(-1, 1, 402)[1:-1]
    points = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    mean, std = np.asarray([0.2, -0.3]), np.asarray([0.4, 0.6])
    outputs = np.repeat(np.concatenate([mean, np.log(std)])[None], len(points), 0).astype(np.float32)
    noise = ((np.arctanh(points) - mean) / std).astype(np.float32)
    total = np.exp(np.asarray(sac.draw(outputs, noise)[1], np.float64)).sum() * (grid[1] - grid[0]) ** 2
    assert total == pytest.approx(1.0, abs=0.01)


def test_far_beyond_the_bounds_the_density_and_its_slope_stay_finite():
    outputs = np.asarray([[30.0, 5.0], [-30.0, -50.0]], np.float32)
    noise = np.asarray([[3.0], [-1.0]], np.float32)
    actions, log_prob = sac.draw(outputs, noise)
    assert (np.abs(actions) <= 1.0).all() and np.isfinite(log_prob).all()
    assert np.isfinite(jax.grad(lambda x: sac.draw(x, noise)[1].sum())(outputs)).all()


def test_the_host_draws_the_same_actions():
    outputs = np.random.default_rng(1).normal(size=(7, 6)).astype(np.float32)
    noise = np.random.default_rng(2).normal(size=(7, 3)).astype(np.float32)
    agent = sac.Functions((8,))
    np.testing.assert_allclose(agent.action(np, outputs, noise, {}), sac.draw(outputs, noise)[0], atol=1e-6)
    np.testing.assert_array_equal(agent.action(np, outputs, None, {}), np.tanh(outputs[:, :3]))


# -- an update ------------------------------------------------------------------------------------------------------------

SETTINGS = {"discount": 0.9, "tau": 0.1, "actor_lr": 1e-3, "critic_lr": 1e-3, "alpha_lr": 1e-2, "target_entropy": -1.0}


def pieces():
    agent, numbers = sac.Functions((8,)), np.random.default_rng(0)
    shapes = ((5, 3), (5, 2), (5, 1))
    batch = Transitions(
        *(numbers.normal(size=shape).astype(np.float32) for shape in shapes),
        np.asarray([1, 1, 0, 1, 0], np.float32),
        numbers.normal(size=(5, 3)).astype(np.float32),
    )
    hparams = {name: jnp.float32(value) for name, value in (SETTINGS | {"alpha": np.nan}).items()}
    return agent, agent.init(3, 2, rng(0, "x")), batch, hparams


update = jax.jit(sac.Functions((8,)).update)


def test_the_target_is_the_smaller_value_plus_the_entropy_and_only_a_terminal_state_has_none():
    agent, state, batch, hparams = pieces()
    noise = np.random.default_rng(3).normal(size=(5, 2)).astype(np.float32)
    actions, log_prob = sac.draw(host_mlp(state["params"]["actor"], batch.reached), noise)
    pairs = np.concatenate([batch.reached, actions], 1)
    smaller = np.minimum(*(host_mlp(critic, pairs)[:, 0] for critic in state["target"]))
    expected = batch.rewards[:, 0] + 0.9 * np.where(batch.reach > 0, smaller - 0.3 * np.asarray(log_prob), 0.0)
    np.testing.assert_allclose(agent.soft_target(state, batch, hparams, jnp.float32(0.3), noise), expected, rtol=1e-4)


@pytest.mark.heavy
@pytest.mark.parametrize(("target", "sign"), [(50.0, 1), (-50.0, -1)])
def test_the_temperature_rises_while_the_entropy_is_below_its_target(target, sign):
    _, state, batch, hparams = pieces()
    after, _ = update(state, batch, hparams | {"target_entropy": jnp.float32(target)}, jax.random.key(0))
    assert np.sign(after["params"]["log_alpha"]) == sign


@pytest.mark.heavy
def test_a_fixed_temperature_is_the_one_in_force_and_a_higher_one_raises_the_entropy():
    _, state, batch, hparams = pieces()
    entropies = []
    for alpha in (0.0, 20.0):
        now = state
        for i in range(40):
            now, diagnostics = update(now, batch, hparams | {"alpha": jnp.float32(alpha)}, jax.random.key(i))
            assert diagnostics[2] == np.float32(alpha)
        entropies.append(float(diagnostics[3]))
    assert entropies[1] > entropies[0] + 0.1


@pytest.mark.heavy
def test_targets_follow_the_critics_and_there_is_no_target_policy():
    _, state, batch, hparams = pieces()
    after, _ = update(state, batch, hparams, jax.random.key(0))
    for old, new, target in zip(
        *(jax.tree.leaves(x) for x in (state["target"], after["params"]["critics"], after["target"])), strict=True
    ):
        np.testing.assert_allclose(target, 0.9 * old + 0.1 * new, atol=1e-6)


# -- the population -------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize("agent", EACH)
def test_training_is_pure_and_a_stored_copy_continues_exactly(agent):
    start, _ = agent.train(agent.init({}, SEEDS), {}, 100, SEEDS)
    once, metrics = agent.train(start, {}, 103, SEEDS + 10)
    assert same(once, agent.train(start, {}, 103, SEEDS + 10)[0])
    assert metrics["updates"].tolist() == [143, 143] and (once["params"]["log_alpha"] < 0).all()
    structure, arrays = carries.flatten(carries.lane(start, 1))
    restored = carries.stacked(carries.unflatten(structure, arrays))
    copies = agent.gather([(restored, 0), (start, 0)])
    assert same(agent.train(copies, {}, 103, SEEDS[::-1] + 10)[0], agent.gather([(once, 1), (once, 0)]))


@pytest.mark.heavy
def test_every_hyperparameter_takes_effect_on_a_clone():
    carry, _ = HOST.train(HOST.init({}, SEEDS[:1]), {}, 100, SEEDS[:1])
    weights = {HOST.train(carry, {}, 60, SEEDS[:1])[0]["params"]["actor"][0]["w"].tobytes()}
    for name in HOST.ranges:
        value = {"learning_starts": 130}.get(name, 0.3)
        after, _ = HOST.train(carry, {name: np.asarray([value])}, 60, SEEDS[:1])
        weights.add(after["params"]["actor"][0]["w"].tobytes())
    assert len(weights) == len(HOST.ranges) + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": -1.0}, "alpha=-1"),
        ({"env": "CartPole-v1"}, "SAC needs continuous actions"),
        # the temperature would grow for ever
        ({"target_entropy": 0.7}, "target_entropy=0.7 is not at most 0.693147. No action between -1 and 1 has more entropy"),
    ],
)
def test_wrong_arguments_are_named_before_anything_starts(arguments, message):
    with pytest.raises(UsageError, match=message):
        SAC(**{"env": "jax/Pendulum-v1"} | arguments)
