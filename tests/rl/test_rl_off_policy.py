# ruff: noqa: E402
"""Agents with replay memories as populations: pure, resumable, compiled once, right about time limits, and they learn."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

import poptrain as pt

pytest.importorskip("jax")
pytest.importorskip("gymnasium")

from poptrain._jax import jax, jnp
from poptrain.checkpoints import carry as carries
from poptrain.core.errors import UsageError
from poptrain.core.rng import rng
from poptrain.rl import DDPG, P3S, TD3
from poptrain.rl.agents import td3
from poptrain.rl.loops.off_policy_host import HostActor
from poptrain.rl.memory.chunks import held_rows
from poptrain.rl.memory.rows import Row, Transitions
from poptrain.rl.mlp import host_mlp, init_mlp, mlp
from poptrain.rl.trees import take

pytestmark = pytest.mark.filterwarnings("ignore:.*fewer than the longest episode")
SMALL = {"horizon": 50, "hidden": (16,), "batch_size": 16, "learning_starts": 60, "memory": 512, "update_every": 10}
AGENTS = {
    "td3": TD3(env="Pendulum-v1", **SMALL),
    "td3-jax": TD3(env="jax/Pendulum-v1", **SMALL),
    "ddpg": DDPG(env="Pendulum-v1", n_step=3, num_envs=3, **SMALL),
    "ddpg-jax": DDPG(env="jax/Pendulum-v1", n_step=3, num_envs=3, **SMALL),
}
EACH = [pytest.param(agent, id=name, marks=[pytest.mark.heavy] if name != "td3" else []) for name, agent in AGENTS.items()]
SEEDS = np.asarray([11, 12])


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize("agent", EACH)
def test_training_is_a_pure_function_and_lanes_do_not_matter(agent):
    hparams = {"actor_lr": np.asarray([1e-3, 1e-4]), "updates_per_step": np.asarray([1.0, 0.5])}
    start, _ = agent.train(agent.init(hparams, SEEDS), hparams, 100, SEEDS)
    before = carries.copy(start)
    once, metrics = agent.train(start, hparams, 303, SEEDS + 10)
    assert same(start, before), "the carry that went in is untouched"
    assert same(once, agent.train(start, hparams, 303, SEEDS + 10)[0]), "bit for bit"
    done = (102 + 303) if "jax/" in agent.env and agent.num_envs > 1 else 403
    assert (once["steps"] == done).all() and once["replay"]["count"].min() >= done - 2 * 3
    assert metrics["updates"][0] == pytest.approx(done - 60, abs=3) and metrics["updates"][1] == metrics["updates"][0] // 2
    turned = agent.gather([(start, 1), (start, 0)])
    swapped, _ = agent.train(turned, {name: value[::-1] for name, value in hparams.items()}, 303, SEEDS[::-1] + 10)
    assert same(swapped, agent.gather([(once, 1), (once, 0)]))


@pytest.mark.parametrize("agent", EACH)
def test_a_stored_carry_continues_exactly(agent):
    carry, _ = agent.train(agent.init({}, SEEDS), {}, 650, SEEDS)  # the memory has forgotten some
    structure, arrays = carries.flatten(carries.lane(carry, 1))
    restored = carries.stacked(carries.unflatten(structure, arrays))
    lanes = agent.gather([(carry, 0), (restored, 0)])
    assert same(agent.train(carry, {}, 120, SEEDS)[0], agent.train(lanes, {}, 120, SEEDS)[0])


def test_no_hyperparameter_ever_recompiles():
    agent, seen = AGENTS["td3"], []
    carry, _ = agent.train(agent.init({}, SEEDS), {}, 100, SEEDS)
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: seen.append(name) if "backend_compile" in name else None
    )
    for name, allowed in agent.ranges.items():
        value = 2 if allowed.integer else 0.5
        carry, _ = agent.train(carry, {name: np.asarray([value, value])}, 60, SEEDS)
    assert not seen
    jax.jit(lambda x: x + 41)(1)
    assert seen, "they are counted"


def test_every_hyperparameter_takes_effect_on_a_clone():
    agent, one = replace(AGENTS["td3"], learning_starts=0), SEEDS[:1]
    carry, _ = agent.train(agent.init({}, one), {}, 100, one)
    weights = {agent.train(carry, {}, 100, one)[0]["params"]["actor"][0]["w"].tobytes()}
    for name in agent.ranges:
        value = {"learning_starts": 150, "policy_delay": 3, "noise_clip": 1e-3}.get(name, 0.3)
        after, _ = agent.train(carry, {name: np.asarray([value])}, 100, one)
        weights.add(after["params"]["actor"][0]["w"].tobytes())
    assert len(weights) == len(agent.ranges) + 1


@pytest.mark.parametrize("agent", [*EACH, pytest.param(P3S(learners=3, period=40, env="Pendulum-v1", **SMALL), id="p3s")])
def test_intervals_of_any_length_make_as_many_updates_as_one(agent):
    """Ticks are whole in all of these intervals, so every learner makes the updates of its own share of the steps."""
    agent, rates, learners = replace(agent, learning_starts=9), np.asarray([0.07, 0.7]), getattr(agent, "learners", 1)
    hparams = {"updates_per_step": rates}
    carry = agent.init(hparams, SEEDS)
    for steps in (3, 12, 21, 9, 30, 15):
        carry, metrics = agent.train(carry, hparams, steps, SEEDS)
        learned = max(0, carry["steps"][0] / learners - 9)
        assert metrics["updates"].tolist() == [learners * int(learned * rate + 1e-3) for rate in rates], steps


def follows(agent, steps):
    """True if every transition of one step reached the state that the pendulum's laws say."""
    carry, _ = agent.train(agent.init({}, SEEDS[:1]), {}, steps, SEEDS[:1])
    row = Row(3, 1, agent.n_step)
    batch = Transitions(*map(np.asarray, row.decode(jnp.asarray(held_rows(carry["replay"], 0, row, 512)))))
    assert len(batch.reach) == steps
    speed = batch.observations[:, 2] + 0.05 * (15 * batch.observations[:, 1] + 3 * 2 * batch.actions[:, 0])
    return np.abs(np.clip(speed, -8, 8) - batch.reached[:, 2])[batch.reach == 1].max() < 1e-3


def test_a_window_that_an_interval_cuts_ends_in_the_last_state_that_counts():
    """The last tick may bring a step more than an interval has: neither its reward nor its state is part of a transition."""
    several = {**SMALL, "n_step": 3, "env": "Pendulum-v1"}
    for agent in (TD3(num_envs=2, **several), P3S(learners=2, **several)):
        for steps in (6, 7, 8):
            assert follows(agent, steps), (agent, steps)


def test_a_time_limit_is_never_terminal():
    """A CartPole would end; a pendulum never does, so every row of it bootstraps, and none reaches into the next episode."""
    agent = replace(AGENTS["td3"], horizon=20)
    carry, metrics = agent.train(agent.init({}, SEEDS), {}, 200, SEEDS)
    assert (metrics["episode_length"] == 20).all() and [len(r) for r in metrics["returns"]] == [10, 10]
    row = Row(3, 1)
    batch = Transitions(*map(np.asarray, row.decode(jnp.asarray(held_rows(carry["replay"], 0, row, 512)))))
    assert (batch.reach == 1).all() and len(batch.reach) == 200
    goes_on = np.abs(batch.reached[:-1] - batch.observations[1:]).max(1) == 0
    assert np.flatnonzero(~goes_on).tolist() == list(range(19, 199, 20)), "episodes are joined only where they are one"
    speed = batch.observations[:, 2] + 0.05 * (15 * batch.observations[:, 1] + 3 * 2 * batch.actions[:, 0])
    np.testing.assert_allclose(np.clip(speed, -8, 8), batch.reached[:, 2], atol=1e-3)


@pytest.mark.heavy
@pytest.mark.parametrize("env", ["InvertedPendulum-v4"])
def test_a_fall_is_terminal(env):
    pytest.importorskip("envpool")
    agent = TD3(env=env, **SMALL)
    carry, metrics = agent.train(agent.init({}, SEEDS), {}, 100, SEEDS)
    row = Row(4, 1)
    batch = row.decode(jnp.asarray(held_rows(carry["replay"], 0, row, 512)))
    assert int((batch.reach == 0).sum()) == len(metrics["returns"][0]) > 0


def test_a_diverged_member_scores_nan_and_disturbs_no_other():
    agent = AGENTS["td3"]
    carry, metrics = agent.train(agent.init({}, SEEDS), {"critic_lr": np.asarray([1e38, 1e-3])}, 300, SEEDS)
    carry, metrics = agent.train(carry, {}, 100, SEEDS)
    assert np.isnan(metrics["score"][0]) and np.isfinite(metrics["score"][1])


@pytest.mark.parametrize("weight", [np.nan, 3e38])
def test_a_policy_whose_outputs_are_not_numbers_acts_with_numbers(weight):
    """Weights of 3e38 are finite, and their sums are not: an action that is NaN ends some simulators."""
    agent, draw = AGENTS["td3"], np.random.default_rng(0)
    actor = jax.tree.map(lambda x: (weight * draw.choice([-1, 1], x.shape)).astype(np.float32),
                         take(agent.init({}, SEEDS[:1])["params"]["actor"], 0))  # fmt: skip
    policy = HostActor(agent.functions(), {"params": {"actor": actor}}, {"exploration_noise": np.float32(0.1)})
    seen = np.ones((2, 3), np.float32)
    assert not policy.act(seen, None).any() and np.isfinite(policy.act(seen, np.ones((2, 1), np.float32))).all()
    assert policy.broken


def test_zero_steps_evaluate_only():
    agent = AGENTS["td3"]
    carry = agent.init({}, SEEDS)
    after, metrics = agent.train(carry, {}, 0, SEEDS)
    assert same(after["params"], carry["params"]) and [len(returns) for returns in metrics["returns"]] == [10, 10]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"env": "CartPole-v1"}, "TD3 needs continuous actions"),
        ({"memory": 0}, "memory=0"),
        ({"n_step": 1.5}, "n_step=1.5"),
        ({"actor_lr": -1.0}, "actor_lr=-1"),
        ({"policy_delay": 0}, r"policy_delay=0 is not within \[1, 1000\]"),
    ],
)
def test_wrong_arguments_are_named_before_anything_starts(arguments, message):
    with pytest.raises(UsageError, match=message):
        TD3(**{"env": "jax/Pendulum-v1"} | arguments)


def test_an_agent_can_be_pickled_and_compared():
    agent = TD3(env="jax/Pendulum-v1", hidden=[16, 16])
    assert pickle.loads(pickle.dumps(agent)) == agent and agent.population and hash(agent)


# -- the formulas ---------------------------------------------------------------------------------------------------------


def pieces(**hparams):
    agent = td3.Functions((8,))
    state = agent.init(3, 2, rng(0, "x"))
    draw = np.random.default_rng(0)
    batch = Transitions(
        *(draw.normal(size=shape).astype(np.float32) for shape in ((5, 3), (5, 2), (5, 1))),
        np.asarray([1, 1, 0, 1, 0.0]),
        draw.normal(size=(5, 3)).astype(np.float32),
    )
    settings = {
        "discount": 0.9,
        "target_noise": 0.2,
        "noise_clip": 0.5,
        "tau": 0.1,
        "actor_lr": 1e-3,
        "critic_lr": 1e-3,
        "policy_delay": 2,
    }
    return agent, state, batch, {name: jnp.asarray(value) for name, value in (settings | hparams).items()}


def test_the_target_is_the_smaller_value_of_the_smoothed_action():
    agent, state, batch, hparams = pieces(target_noise=0.0)
    actions = np.tanh(host_mlp(state["target"]["actor"], batch.reached))
    pairs = np.concatenate([batch.reached, actions], 1)
    smaller = np.minimum(*(host_mlp(critic, pairs)[:, 0] for critic in state["target"]["critics"]))
    expected = batch.rewards[:, 0] + 0.9 * np.where(batch.reach > 0, smaller, 0.0)
    np.testing.assert_allclose(agent.target(state["target"], batch, hparams, jax.random.key(0)), expected, rtol=1e-5)
    noisy = agent.target(
        state["target"], batch, hparams | {"target_noise": jnp.float32(1e9), "noise_clip": jnp.float32(0.0)}, jax.random.key(0)
    )
    np.testing.assert_allclose(noisy, expected, rtol=1e-5)


def test_the_target_has_the_clipped_noise_of_the_paper_on_a_clipped_action():
    """Equations 10 and 14 in numpy, with noise of which some is clipped, and actions of which some are."""
    agent, state, batch, hparams = pieces(target_noise=0.9, noise_clip=0.5)
    batch = batch._replace(reach=np.ones(5, np.float32))
    target = state["target"] | {"actor": jax.tree.map(lambda x: 2 * x, state["target"]["actor"])}
    key = jax.random.key(3)
    drawn = 0.9 * np.asarray(jax.random.normal(key, (5, 2)))
    noisy = np.tanh(host_mlp(target["actor"], batch.reached)) + np.clip(drawn, -0.5, 0.5)
    assert 0 < (np.abs(drawn) > 0.5).sum() < 10 and 0 < (np.abs(noisy) > 1.0).sum() < 10
    pairs = np.concatenate([batch.reached, np.clip(noisy, -1.0, 1.0)], 1).astype(np.float32)
    smaller = np.minimum(*(host_mlp(critic, pairs)[:, 0] for critic in target["critics"]))
    expected = batch.rewards[:, 0] + 0.9 * np.where(batch.reach > 0, smaller, 0.0)
    np.testing.assert_allclose(agent.target(target, batch, hparams, key), expected, rtol=1e-4, atol=1e-6)
    wider = agent.target(target, batch, hparams | {"noise_clip": jnp.float32(5.0)}, key)
    assert not np.allclose(wider, expected, rtol=1e-4), "the clip matters here"


@pytest.mark.heavy
def test_policy_and_targets_move_every_second_update():
    agent, state, batch, hparams = pieces()
    first, _ = agent.update(state, batch, hparams, jax.random.key(0))
    assert same(first["params"]["actor"], state["params"]["actor"]) and same(first["target"], state["target"])
    assert not same(first["params"]["critics"], state["params"]["critics"])
    second, _ = agent.update(first, batch, hparams, jax.random.key(1))
    assert not same(second["params"]["actor"], state["params"]["actor"])
    for old, new, target in zip(
        *(jax.tree.leaves(x) for x in (state["target"], second["params"], second["target"])), strict=True
    ):
        np.testing.assert_allclose(target, 0.9 * old + 0.1 * new, atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_network_of_the_host_is_the_compiled_one(activation):
    layers = init_mlp(rng(0, "x"), (4, 8, 8, 3))
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    np.testing.assert_allclose(host_mlp(layers, x.copy(), activation), mlp(layers, x, activation), atol=1e-6)


# -- through `run` --------------------------------------------------------------------------------------------------------

SPACE = pt.Space(actor_lr=pt.LogUniform(1e-4, 1e-2), discount=pt.Uniform(0.9, 0.99))


def run(agent, directory=None, steps=400, executor="vectorized"):
    algorithm = pt.pbt(SPACE, population=3, interval=100, exploit=pt.truncation(0.34))
    return pt.run(algorithm, agent, stop=pt.steps(steps), executor=executor, directory=directory)


@pytest.mark.parametrize(
    "agent", [pytest.param(AGENTS["td3-jax"], marks=pytest.mark.heavy), AGENTS["td3"]], ids=["compiled", "simulated"]
)
def test_resume_is_bit_equal(agent, tmp_path):
    whole = run(agent)
    run(agent, tmp_path / "r", steps=200)
    resumed = run(agent, tmp_path / "r")
    np.testing.assert_array_equal(whole.history.scores, resumed.history.scores)
    assert same(whole.best.load(), resumed.best.load())


def test_one_member_at_a_time_learns_the_same_as_all_at_once():
    agent = AGENTS["td3"]
    one, together = run(agent, executor="inline"), run(agent)
    np.testing.assert_array_equal(one.history.scores, together.history.scores)


@pytest.mark.heavy
@pytest.mark.parametrize("agent", [TD3, DDPG])
def test_it_learns_pendulum(agent):
    agent = agent(env="Pendulum-v1", hidden=(64, 64), learning_starts=1000)
    carry, _ = agent.train(agent.init({}, SEEDS), {}, 10_000, SEEDS)
    assert max(agent.evaluate(carry, i, 50).mean() for i in range(2)) > -220  # one seed is a lottery with so small networks
