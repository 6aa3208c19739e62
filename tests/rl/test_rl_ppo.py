# ruff: noqa: E402
"""PPO as a population: pure, exact about batches, compiled once, and it learns."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("gymnasium")

from poptrain._jax import jax
from poptrain.checkpoints import carry as carries
from poptrain.core.errors import UsageError
from poptrain.rl import PPO
from poptrain.rl.agents import ppo
from poptrain.rl.loops import device, device_interval
from poptrain.rl.loops.host import SEEDS, evaluation_seeds, training_seeds

pytestmark = pytest.mark.filterwarnings("ignore:.*fewer than the longest episode")
SMALL = {"hidden": (8,), "num_envs": 4, "epochs": 1, "train_batch_size": 256, "minibatch_size": 64}
ENVIRONMENTS = ["jax/Pendulum-v1", "jax/CartPole-v1", "Pendulum-v1", "CartPole-v1"]


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.fixture
def compilations():
    """Counts what XLA compiles from here on."""
    seen = []

    def listen(name, *_, **__):
        if name == "/jax/core/compile/backend_compile_duration":
            seen.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_training_is_a_pure_function_and_lanes_do_not_matter(env):
    agent, seeds = PPO(env=env, **SMALL), np.asarray([11, 12, 13])
    hparams = {"lr": np.asarray([1e-3, 1e-4, 1e-2]), "train_batch_size": np.asarray([100, 300, 1000])}
    start, _ = agent.train(agent.init(hparams, seeds), hparams, 200, seeds)
    before = carries.copy(start)
    once, metrics = agent.train(start, hparams, 203, seeds + 10)
    again, _ = agent.train(start, hparams, 203, seeds + 10)
    assert same(start, before), "the carry that went in is untouched"
    assert same(once, again), "bit for bit"
    assert (metrics["steps"] == (204 if env.startswith("jax/") else 203)).all()
    order = [2, 0, 1]
    turned = agent.gather([(start, lane) for lane in order])
    swapped, _ = agent.train(turned, {k: v[order] for k, v in hparams.items()}, 203, seeds[order] + 10)
    assert same(swapped, agent.gather([(once, lane) for lane in order]))


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_a_stored_carry_continues_exactly(env):
    agent, seeds = PPO(env=env, **SMALL), np.asarray([1, 2])
    carry, _ = agent.train(agent.init({}, seeds), {}, 300, seeds)
    structure, arrays = carries.flatten(carries.lane(carry, 1))
    restored = carries.stacked(carries.unflatten(structure, arrays))
    lanes = agent.gather([(carry, 0), (restored, 0)])
    assert same(agent.train(carry, {}, 300, seeds)[0], agent.train(lanes, {}, 300, seeds)[0])


def test_a_clone_is_a_copy_with_its_recording():
    agent, seeds = PPO(env="Pendulum-v1", **SMALL), np.asarray([1, 2])
    hparams = {"train_batch_size": np.asarray([1000, 200])}
    carry, _ = agent.train(agent.init(hparams, seeds), hparams, 400, seeds)
    assert carry["buffer"]["n"].tolist() == [400, 0]
    other, _ = agent.train(agent.init(hparams, seeds), hparams, 100, seeds)
    clones = agent.gather([(carry, 0), (carry, 0), (other, 1), (carry, 1)])
    assert clones["buffer"]["n"].tolist() == [400, 400, 100, 0]
    clones["params"]["policy"][0]["w"][:] = 0
    clones["buffer"]["observations"][:] = 0
    assert carry["params"]["policy"][0]["w"].any() and carry["buffer"]["observations"].any()
    _, metrics = agent.train(agent.gather([(carry, 0)]), {"train_batch_size": np.asarray([100])}, 4, np.asarray([5]))
    assert metrics["updates"].tolist() == [1], "a smaller batch than what is recorded is learned from at once"


@pytest.mark.parametrize("env", ["jax/Pendulum-v1", "CartPole-v1"])
def test_a_batch_of_200_000_makes_five_updates_in_a_million_steps(env):
    agent = PPO(env=env, hidden=(4,), num_envs=100, epochs=1, chunk=1024)
    hparams = {"train_batch_size": np.asarray([200_000]), "minibatch_size": np.asarray([20_000])}
    seeds = np.asarray([1])
    carry, updates = agent.init(hparams, seeds), []
    for interval in range(8):
        carry, metrics = agent.train(carry, hparams, 125_000, seeds + interval)
        updates.append(int(metrics["updates"][0]))
    assert updates == [0, 1, 1, 2, 3, 3, 4, 5]


@pytest.mark.parametrize("env", ["jax/CartPole-v1", "CartPole-v1"])
def test_no_hyperparameter_ever_recompiles(env, compilations):
    agent, seeds = PPO(env=env, **SMALL), np.asarray([1, 2, 3])
    names = ["lr", "clip", "kl_coeff", "kl_target", "gae_lambda", "discount", "entropy_coeff", "value_coeff"]
    hparams = {name: np.asarray([0.01, 0.02, 0.03]) for name in names}
    hparams |= {"epochs": np.asarray([1, 2, 2]), "minibatch_size": np.asarray([16, 64, 99])}
    hparams |= {"train_batch_size": np.asarray([64, 128, 333])}
    carry = agent.init(hparams, seeds)
    for interval in range(2):  # the second one moves a recording
        carry, _ = agent.train(carry, hparams, 300, seeds + interval)
    compilations.clear()
    jax.jit(lambda x: x + 1)(1)
    assert len(compilations) == 1, "they are counted"
    compilations.clear()
    for name in hparams:
        others = {"train_batch_size": [200_000, 777, 1], "minibatch_size": [500, 1, 2], "epochs": [3, 0, 1]}
        value = others.get(name, [0.5, 0.25, 0.125])
        hparams = hparams | {name: np.asarray(value)}
        carry, _ = agent.train(carry, hparams, 500, seeds + len(name))
    assert not compilations


def test_learning_all_at_once_equals_learning_in_turn(monkeypatch):
    agent, seeds = PPO(env="jax/CartPole-v1", **SMALL), np.asarray([1, 2, 3])
    hparams = {"train_batch_size": np.asarray([200, 300, 500])}
    start = agent.init(hparams, seeds)
    turn, _ = agent.train(start, hparams, 600, seeds)
    monkeypatch.setattr(device_interval, "accelerated", lambda: True)
    monkeypatch.setattr(ppo, "program_for", device_interval.program_for.__wrapped__)
    once, metrics = agent.train(start, hparams, 600, seeds)
    assert metrics["updates"].tolist() == [3, 2, 1]
    for a, b in zip(jax.tree.leaves(turn["params"]), jax.tree.leaves(once["params"]), strict=True):
        assert np.allclose(a, b, atol=1e-4)


def test_agents_with_networks_of_other_sizes_train_in_one_process():
    seeds = np.asarray([1])
    for hidden in ((8, 8), (8,)):
        agent = PPO(env="jax/CartPole-v1", **{**SMALL, "hidden": hidden})
        carry, metrics = agent.train(agent.init({}, seeds), {}, 256, seeds)
        assert [layer["w"].shape[-1] for layer in carry["params"]["policy"][:-1]] == list(hidden) and np.isfinite(
            metrics["score"]
        )


def test_a_tuned_hyperparameter_takes_effect_on_a_clone():
    agent, seeds = PPO(env="Pendulum-v1", **SMALL), np.asarray([1])
    carry, _ = agent.train(agent.init({}, seeds), {}, 512, seeds)
    weights = {}
    values = {
        "lr": 1e-2, "clip": 1e-3, "kl_coeff": 50.0, "gae_lambda": 0.0, "discount": 0.5, "entropy_coeff": 1.0, "value_coeff": 9.0,
        "epochs": 3, "minibatch_size": 32, "train_batch_size": 128,
    }  # fmt: skip
    for name, value in {"": 0, **values}.items():
        hparams = {name: np.asarray([value])} if name else {}
        if name in ("clip", "kl_coeff"):
            hparams |= {"lr": np.asarray([3e-2]), "epochs": np.asarray([5])}
        after, _ = agent.train(carry, hparams, 512, seeds + 1)
        weights[name] = after["params"]["policy"][0]["w"].tobytes() + after["params"]["value"][0]["w"].tobytes()
    assert len(set(weights.values())) == len(weights)


def test_a_lone_update_spans_intervals_without_losing_a_row():
    agent = PPO(env="CartPole-v1", **SMALL | {"train_batch_size": 600})
    carry, seeds, fill = agent.init({}, np.asarray([3])), np.asarray([3]), []
    for interval in range(4):
        carry, metrics = agent.train(carry, {}, 250, seeds + interval)
        fill.append(int(carry["buffer"]["n"][0]))
    assert fill[:2] == [250, 500] and metrics["updates"].tolist() == [1]
    assert 750 - 600 <= fill[2] <= 750 - 596 and carry["buffer"]["marks"].shape[1] == carry["buffer"]["ticks"].max()


def test_a_batch_smaller_than_one_tick_is_learned_from_at_every_tick():
    agent = PPO(env="Pendulum-v1", horizon=5, **SMALL | {"train_batch_size": 1, "minibatch_size": 4})
    carry, metrics = agent.train(agent.init({}, [1]), {}, 48, [1])
    assert metrics["updates"].tolist() == [12] and np.isfinite(metrics["score"]).all()  # ticks of resets make no batch


def test_the_score_is_the_mean_of_the_returns_or_the_last_known():
    agent, seeds = PPO(env="jax/Pendulum-v1", **SMALL), np.asarray([1, 2])
    carry, metrics = agent.train(agent.init({}, seeds), {}, 100, seeds)
    assert metrics["returns"] == [[], []] and np.isfinite(metrics["score"]).all() and (metrics["score"] < 0).all()
    carry, metrics = agent.train(carry, {}, 800, seeds)
    assert [len(returns) for returns in metrics["returns"]] == [4, 4]
    assert np.allclose(metrics["score"], np.mean(metrics["returns"], 1), rtol=1e-5) and (metrics["episode_length"] == 200).all()
    _, later = agent.train(carry, {}, 40, seeds)
    assert later["returns"] == [[], []] and np.array_equal(later["score"], metrics["score"])


def test_an_interval_shorter_than_an_episode_is_said():
    agent = PPO(env="Pendulum-v1", **SMALL)
    with pytest.warns(UserWarning, match="longest episode of Pendulum-v1"):
        agent.train(agent.init({}, [1]), {}, 100, [1])


def test_a_diverged_member_scores_nan_and_disturbs_nobody():
    for env in ("Pendulum-v1", "jax/Pendulum-v1"):
        agent, seeds = PPO(env=env, **SMALL), np.asarray([1, 2])
        hparams = {"lr": np.asarray([1e38, 1e-3])}
        carry = agent.init(hparams, seeds)
        for interval in range(3):
            carry, metrics = agent.train(carry, hparams, 512, seeds + interval)
        assert np.isnan(metrics["score"][0]) and np.isfinite(metrics["score"][1])


def test_zero_steps_evaluate_only():
    agent, seeds = PPO(env="Pendulum-v1", **SMALL), np.asarray([1, 2])
    carry = agent.init({}, seeds)
    after, metrics = agent.train(carry, {}, 0, seeds)
    assert same(after["params"], carry["params"]) and metrics["steps"].tolist() == [0, 0]
    assert [len(returns) for returns in metrics["returns"]] == [4, 4] and np.isfinite(metrics["score"]).all()


def test_training_and_evaluation_never_share_a_seed():
    assert max(training_seeds(np.arange(50), 16)) < SEEDS <= min(evaluation_seeds(0, 1000))
    assert max(evaluation_seeds(0, 1000)) < 2**31


@pytest.mark.parametrize("env", ["jax/Pendulum-v1", "Pendulum-v1"])
def test_it_learns_pendulum(env):
    agent = PPO(env=env, hidden=(32, 32), lr=1e-3, train_batch_size=2048, discount=0.95, gae_lambda=0.9)
    seeds = np.asarray([1, 2])
    carry = agent.init({}, seeds)
    before = np.mean([agent.evaluate(carry, lane, 32).mean() for lane in (0, 1)])
    for interval in range(2):
        carry, _ = agent.train(carry, {}, 50_000, seeds + interval)
    after = max(agent.evaluate(carry, lane, 32).mean() for lane in (0, 1))
    assert before < -900 and after > -500


@pytest.mark.parametrize("env", ["jax/CartPole-v1", "CartPole-v1"])
def test_it_learns_cartpole(env):
    agent, seeds = PPO(env=env, hidden=(32, 32), lr=1e-3, train_batch_size=1024), np.asarray([1, 2])
    carry, metrics = agent.train(agent.init({}, seeds), {}, 30_000, seeds)
    assert metrics["score"].min() > 60 and agent.evaluate(carry, 0, 16).mean() > 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"env": "jax/Pendulum-v11"}, "Did you mean 'jax/Pendulum-v1'"),
        ({"num_envs": 0}, "num_envs=0"),
        ({"hidden": (32, -1)}, r"hidden\[1\]=-1"),
        ({"horizon": 1.5}, "horizon=1.5"),
        ({"lr": -1.0}, "lr=-1"),
        ({"gae_lambda": 1.5}, r"gae_lambda=1.5 is not within \[0, 1\]"),
        ({"epochs": float("nan")}, "epochs=nan"),
        ({"max_batch": 10**9}, "max_batch"),
        ({"backend": "mujoco"}, "backend 'mujoco'"),
    ],
)
def test_wrong_arguments_are_named_before_anything_starts(arguments, message):
    with pytest.raises(UsageError, match=message):
        PPO(**{"env": "jax/Pendulum-v1"} | arguments)


@pytest.mark.parametrize(
    ("hparams", "message"),
    [
        ({"learning_rate": [1e-3]}, "no hyperparameter 'learning_rate'"),
        ({"gae_lamda": [0.9]}, "Did you mean 'gae_lambda'"),
        ({"train_batch_size": [300_000]}, "Raise max_batch"),
        ({"lr": ["high"]}, "expected a number"),
        ({"lr": [float("nan")]}, "lr=nan"),
    ],
)
def test_wrong_hyperparameters_are_named(hparams, message):
    agent = PPO(env="jax/Pendulum-v1")
    with pytest.raises(UsageError, match=message):
        agent.init(hparams, np.asarray([1]))


def test_an_agent_can_be_pickled_and_compared():
    agent = PPO(env="jax/Pendulum-v1", hidden=[16, 16])
    assert pickle.loads(pickle.dumps(agent)) == agent and agent.population and hash(agent)


def test_the_number_of_cores_changes_no_bit(monkeypatch):
    agent, seeds = PPO(env="jax/Pendulum-v1", **SMALL), np.asarray([1, 2, 3, 4, 5])
    start, carries = agent.init({}, seeds), []
    for cores in (1, 2):
        monkeypatch.setattr(device, "cpus", lambda: cores)  # noqa: B023
        carries.append(agent.train(start, {}, 600, seeds)[0])
    assert same(*carries)
