# ruff: noqa: E402
"""PPO as a population: pure, exact about batches, compiled once, resumable, and it learns.

Compiling a program takes seconds, training with it milliseconds. So the tests share one agent per environment, with one
population size on the device, and vary only hyperparameters, which never compile anything. `HPARAMS` belongs to every call of
`train`: it tunes the batch size, so that the program has the capacity of the largest batch.
"""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

import poptrain as pt

pytest.importorskip("jax")
pytest.importorskip("gymnasium")

from poptrain._jax import jax
from poptrain.checkpoints import carry as carries
from poptrain.core.errors import UsageError
from poptrain.rl import PPO, make, on_policy
from poptrain.rl.loops import device, device_interval
from poptrain.rl.loops.host import SEEDS, evaluation_seeds, training_seeds
from poptrain.rl.memory.batch import Layout

pytestmark = pytest.mark.filterwarnings("ignore:.*fewer than the longest episode")
ENVIRONMENTS = ["jax/Pendulum-v1", "jax/CartPole-v1", "Pendulum-v1", "CartPole-v1"]
EVERYDAY = ("jax/CartPole-v1", "Pendulum-v1")  # discrete on the device, continuous on the host
SOME_HEAVY = [pytest.param(env, marks=[] if env in EVERYDAY else pytest.mark.heavy) for env in ENVIRONMENTS]
ENVS, MEMBERS = 8, 3
SEEDS3 = np.asarray([11, 12, 13])
HPARAMS = {"train_batch_size": np.full(MEMBERS, 256)}


@pytest.fixture(scope="module")
def agent_for():
    """Returns the one agent of this file for an environment."""
    agents = {env: PPO(env=env, hidden=(16,), num_envs=ENVS, epochs=1, minibatch_size=64) for env in ENVIRONMENTS}
    return agents.__getitem__


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def alone(hparams):
    """Returns the hyperparameters of a population of one."""
    return {name: np.asarray(value)[:1] for name, value in hparams.items()}


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


@pytest.mark.parametrize(
    "env", [pytest.param(env, marks=[] if env == EVERYDAY[1] else pytest.mark.heavy) for env in ENVIRONMENTS]
)
def test_training_is_a_pure_function_and_lanes_do_not_matter(env, agent_for):
    agent, seeds = agent_for(env), SEEDS3
    hparams = {"lr": np.asarray([1e-3, 1e-4, 1e-2]), "train_batch_size": np.asarray([100, 300, 1000])}
    start, _ = agent.train(agent.init(hparams, seeds), hparams, 200, seeds)
    before = carries.copy(start)
    once, metrics = agent.train(start, hparams, 203, seeds + 10)
    again, _ = agent.train(start, hparams, 203, seeds + 10)
    assert same(start, before), "the carry that went in is untouched"
    assert same(once, again), "bit for bit"
    assert (metrics["steps"] == (208 if env.startswith("jax/") else 203)).all()
    order = [2, 0, 1]
    turned = agent.gather([(start, lane) for lane in order])
    swapped, _ = agent.train(turned, {k: v[order] for k, v in hparams.items()}, 203, seeds[order] + 10)
    assert same(swapped, agent.gather([(once, lane) for lane in order]))


@pytest.mark.parametrize("env", SOME_HEAVY)
def test_a_stored_carry_continues_exactly(env, agent_for):
    agent = agent_for(env)
    carry, _ = agent.train(agent.init(HPARAMS, SEEDS3), HPARAMS, 300, SEEDS3)
    structure, arrays = carries.flatten(carries.lane(carry, 1))
    restored = carries.stacked(carries.unflatten(structure, arrays))
    lanes = agent.gather([(carry, 0), (restored, 0), (carry, 2)])
    assert same(agent.train(carry, HPARAMS, 300, SEEDS3)[0], agent.train(lanes, HPARAMS, 300, SEEDS3)[0])


def test_a_clone_is_a_copy_with_its_recording(agent_for):
    agent, seeds = agent_for("Pendulum-v1"), np.asarray([1, 2])
    hparams = {"train_batch_size": np.asarray([1000, 200])}
    carry, _ = agent.train(agent.init(hparams, seeds), hparams, 400, seeds)
    assert carry["buffer"]["n"].tolist() == [400, 0]
    other, _ = agent.train(agent.init(hparams, seeds), hparams, 104, seeds)
    clones = agent.gather([(carry, 0), (carry, 0), (other, 1), (carry, 1)])
    assert clones["buffer"]["n"].tolist() == [400, 400, 104, 0]
    clones["params"]["policy"][0]["w"][:] = 0
    clones["buffer"]["observations"][:] = 0
    assert carry["params"]["policy"][0]["w"].any() and carry["buffer"]["observations"].any()
    _, metrics = agent.train(agent.gather([(carry, 0)]), {"train_batch_size": np.asarray([100])}, 4, np.asarray([5]))
    assert metrics["updates"].tolist() == [1], "a smaller batch than what is recorded is learned from at once"


@pytest.mark.heavy
@pytest.mark.parametrize("env", ["jax/CartPole-v1", "CartPole-v1"])
def test_a_batch_of_200_000_makes_five_updates_in_a_million_steps(env, agent_for):
    hparams, seeds = {"train_batch_size": np.asarray([200_000]), "minibatch_size": np.asarray([20_000])}, np.asarray([1])
    agent = agent_for(env)
    if not env.startswith("jax/"):  # on the host, a step of 8 environments costs as much as one of 1,000
        sizes, hparams = {name: int(value[0]) for name, value in hparams.items()}, {}  # not tuned: max_batch does not matter
        agent = PPO(env=env, hidden=(4,), num_envs=1000, epochs=1, chunk=1024, max_batch=1, **sizes)
    carry, updates = agent.init(hparams, seeds), []
    for interval in range(8):
        carry, metrics = agent.train(carry, hparams, 125_000, seeds + interval)
        updates.append(int(metrics["updates"][0]))
    assert updates == [0, 1, 1, 2, 3, 3, 4, 5]


@pytest.mark.parametrize("env", ["jax/CartPole-v1", "CartPole-v1"])
def test_no_hyperparameter_ever_recompiles(env, agent_for, compilations):
    agent, seeds = agent_for(env), np.asarray([1, 2, 3])
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


@pytest.mark.heavy
def test_learning_all_at_once_equals_learning_in_turn(agent_for, monkeypatch):
    agent, seeds = agent_for("jax/CartPole-v1"), np.asarray([1, 2, 3])
    hparams = {"train_batch_size": np.asarray([200, 300, 500])}
    start = agent.init(hparams, seeds)
    turn, _ = agent.train(start, hparams, 600, seeds)
    monkeypatch.setattr(device_interval, "accelerated", lambda: True)
    monkeypatch.setattr(on_policy, "program_for", device_interval.program_for.__wrapped__)
    once, metrics = agent.train(start, hparams, 600, seeds)
    assert metrics["updates"].tolist() == [3, 2, 1]
    for a, b in zip(jax.tree.leaves(turn["params"]), jax.tree.leaves(once["params"]), strict=True):
        assert np.allclose(a, b, atol=1e-4)


@pytest.mark.heavy
def test_agents_with_networks_of_other_sizes_train_in_one_process(agent_for):
    common, seeds = agent_for("CartPole-v1"), np.asarray([1])
    other = replace(common, hidden=(8, 8))
    for agent in (common, other):  # of one layout
        carry, metrics = agent.train(agent.init(alone(HPARAMS), seeds), alone(HPARAMS), 512, seeds)
        sizes = [layer["w"].shape[-1] for layer in carry["params"]["policy"][:-1]]
        assert sizes == list(agent.hidden) and np.isfinite(metrics["score"]).all() and metrics["updates"] > 0
    env, layout = make("jax/CartPole-v1"), Layout(ENVS, ENVS, 64, 256, 128)
    carries = {agent: agent.init(alone(HPARAMS), seeds) for agent in (common, other)}
    functions = [agent.functions(env.spec, layout, carries[agent]) for agent in (common, other, common)]
    programs = [device_interval.program_for(env, 1, each, 500) for each in functions]
    assert programs[0] is programs[2] and programs[0] is not programs[1]


def test_a_tuned_hyperparameter_takes_effect_on_a_clone(agent_for):
    agent, seeds, common = agent_for("Pendulum-v1"), np.asarray([1]), alone(HPARAMS)
    carry, _ = agent.train(agent.init(common, seeds), common, 512, seeds)
    values = {
        "lr": 1e-2,
        "clip": 1e-3,
        "kl_coeff": 50.0,
        "gae_lambda": 0.0,
        "discount": 0.5,
        "entropy_coeff": 1.0,
        "value_coeff": 9.0,
        "epochs": 3,
        "minibatch_size": 32,
        "train_batch_size": 128,
    }
    weights = {}
    for name, value in {"": 0, **values}.items():
        hparams = common | ({name: np.asarray([value])} if name else {})
        if name in ("clip", "kl_coeff"):
            hparams |= {"lr": np.asarray([3e-2]), "epochs": np.asarray([5])}
        after, _ = agent.train(carry, hparams, 512, seeds + 1)
        weights[name] = after["params"]["policy"][0]["w"].tobytes() + after["params"]["value"][0]["w"].tobytes()
    assert len(set(weights.values())) == len(weights)


def test_a_lone_update_spans_intervals_without_losing_a_row(agent_for):
    agent, hparams, seeds = agent_for("CartPole-v1"), {"train_batch_size": np.asarray([600])}, np.asarray([3])
    carry, fill = agent.init(hparams, seeds), []
    for interval in range(4):
        carry, metrics = agent.train(carry, hparams, 250, seeds + interval)
        fill.append(int(carry["buffer"]["n"][0]))
    assert fill[:2] == [250, 500] and metrics["updates"].tolist() == [1]
    assert 750 - 600 <= fill[2] <= 750 - 592 and carry["buffer"]["marks"].shape[1] == carry["buffer"]["ticks"].max()


def test_a_batch_smaller_than_one_tick_is_learned_from_at_every_tick(agent_for):
    agent = replace(agent_for("Pendulum-v1"), horizon=5)
    hparams = {"train_batch_size": [1], "minibatch_size": [4]}
    carry, metrics = agent.train(agent.init(hparams, [1]), hparams, 96, [1])
    assert metrics["updates"].tolist() == [12] and np.isfinite(metrics["score"]).all()  # ticks of resets make no batch


@pytest.mark.heavy
def test_the_score_is_the_mean_of_the_returns_or_the_last_known(agent_for):
    agent = agent_for("jax/Pendulum-v1")
    carry, metrics = agent.train(agent.init(HPARAMS, SEEDS3), HPARAMS, 200, SEEDS3)
    assert metrics["returns"] == [[], [], []] and np.isfinite(metrics["score"]).all() and (metrics["score"] < 0).all()
    carry, metrics = agent.train(carry, HPARAMS, 1600, SEEDS3)
    assert [len(returns) for returns in metrics["returns"]] == [8, 8, 8]
    assert np.allclose(metrics["score"], np.mean(metrics["returns"], 1), rtol=1e-5) and (metrics["episode_length"] == 200).all()
    _, later = agent.train(carry, HPARAMS, 80, SEEDS3)
    assert later["returns"] == [[], [], []] and np.array_equal(later["score"], metrics["score"])


def test_a_warning_names_an_interval_that_is_shorter_than_an_episode(agent_for, monkeypatch):
    monkeypatch.setattr("poptrain.rl.loops.host._intervals", {})  # longer ones of other tests are forgotten
    agent, hparams = agent_for("Pendulum-v1"), alone(HPARAMS)
    with pytest.warns(UserWarning, match="longest episode of Pendulum-v1"):
        agent.train(agent.init(hparams, [1]), hparams, 100, [1])


@pytest.mark.parametrize("env", ["jax/Pendulum-v1", "Pendulum-v1"])
def test_a_diverged_member_scores_nan_and_disturbs_no_other(env, agent_for):
    agent, hparams = agent_for(env), HPARAMS | {"lr": np.asarray([1e38, 1e-3, 1e-3])}
    carry = agent.init(hparams, SEEDS3)
    for interval in range(3):
        carry, metrics = agent.train(carry, hparams, 512, SEEDS3 + interval)
    assert np.isnan(metrics["score"][0]) and np.isfinite(metrics["score"][1:]).all()


def test_zero_steps_evaluate_only(agent_for):
    agent = agent_for("Pendulum-v1")
    carry = agent.init(HPARAMS, SEEDS3)
    after, metrics = agent.train(carry, HPARAMS, 0, SEEDS3)
    assert same(after["params"], carry["params"]) and metrics["steps"].tolist() == [0, 0, 0]
    assert [len(returns) for returns in metrics["returns"]] == [8, 8, 8] and np.isfinite(metrics["score"]).all()


def test_training_and_evaluation_never_share_a_seed():
    assert max(training_seeds(np.arange(50), 16)) < SEEDS <= min(evaluation_seeds(0, 1000))
    assert max(evaluation_seeds(0, 1000)) < 2**31


LEARNING = {"lr": 1e-3, "epochs": 10, "minibatch_size": 128}


@pytest.mark.heavy
@pytest.mark.parametrize("env", ["jax/Pendulum-v1", "Pendulum-v1"])
def test_it_learns_pendulum(env, agent_for):
    agent, seeds = agent_for(env), SEEDS3 if env.startswith("jax/") else SEEDS3[:2]
    hparams = LEARNING | {"train_batch_size": 2048, "discount": 0.95, "gae_lambda": 0.9}
    carry = agent.init(hparams, seeds)
    before = np.mean([agent.evaluate(carry, lane, 32).mean() for lane in (0, 1)])
    for interval in range(2):
        carry, _ = agent.train(carry, hparams, 50_000, seeds + interval)
    after = max(agent.evaluate(carry, lane, 32).mean() for lane in (0, 1))
    assert before < -900 and after > -500


@pytest.mark.parametrize("env", ["jax/CartPole-v1", pytest.param("CartPole-v1", marks=pytest.mark.heavy)])
def test_it_learns_cartpole(env, agent_for):
    agent, hparams = agent_for(env), LEARNING | {"train_batch_size": 1024}
    carry, metrics = agent.train(agent.init(hparams, SEEDS3), hparams, 30_000, SEEDS3)
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


@pytest.mark.heavy
def test_the_number_of_cores_changes_no_bit(agent_for, monkeypatch):
    agent, seeds, hparams = agent_for("jax/CartPole-v1"), np.asarray([1, 2, 3, 4, 5]), {"train_batch_size": 256}
    start, carries = agent.init(hparams, seeds), []
    for cores in (1, 2):
        monkeypatch.setattr(device, "cpus", lambda: cores)  # noqa: B023
        carries.append(agent.train(start, hparams, 600, seeds)[0])
    assert same(*carries)


# -- through `run` --------------------------------------------------------------------------------------------------------

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-2), train_batch_size=pt.Int(128, 700))


def run(agent, directory=None, steps=1024, executor="vectorized", space=SPACE):
    algorithm = pt.pbt(space, population=3, interval=256, exploit=pt.truncation(0.34))
    return pt.run(algorithm, agent, stop=pt.steps(steps), executor=executor, directory=directory)


@pytest.mark.parametrize("env", ["jax/CartPole-v1", "CartPole-v1"], ids=["compiled", "simulated"])
def test_resume_in_the_middle_of_a_batch_is_bit_equal(env, agent_for, tmp_path):
    agent = agent_for(env)
    whole = run(agent)
    run(agent, tmp_path / "r", steps=512)
    resumed = run(agent, tmp_path / "r")
    np.testing.assert_array_equal(whole.history.scores, resumed.history.scores)
    assert whole.best.hparams == resumed.best.hparams
    assert same(whole.best.load(), resumed.best.load())


@pytest.mark.heavy
def test_one_member_at_a_time_learns_the_same_as_all_at_once(agent_for):
    agent = agent_for("jax/CartPole-v1")
    one, together = run(agent, executor="inline"), run(agent)
    np.testing.assert_allclose(one.history.scores, together.history.scores, rtol=1e-3)


def test_a_tuned_learning_rate_is_the_one_that_trains(agent_for):
    def weights(lr):
        space = pt.Space(lr=pt.Choice(lr), train_batch_size=pt.Choice(128))
        carry = run(agent_for("jax/CartPole-v1"), space=space, steps=256).member(0).load()
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(carry["params"])])

    assert np.array_equal(weights(1e-3), weights(1e-3)) and not np.allclose(weights(1e-3), weights(1e-2))


def test_an_unknown_hyperparameter_of_a_space_is_refused_with_the_nearest_name(agent_for):
    with pytest.raises(UsageError, match="Did you mean 'gae_lambda'"):
        run(agent_for("jax/CartPole-v1"), space=pt.Space(gae_lamda=pt.Uniform(0.9, 1.0)))
