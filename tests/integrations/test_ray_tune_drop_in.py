"""Ray's schedulers by another import: the same arguments, with the bounds, types and errors that Ray's lack."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.heavy

import ray_toys as toys  # noqa: E402
from ray import tune  # noqa: E402

import poptrain as pt  # noqa: E402
from poptrain.core.errors import UsageError  # noqa: E402
from poptrain.integrations.ray_tune import PB2, PopulationBasedTraining, drop_in  # noqa: E402
from poptrain.integrations.ray_tune.space import from_bounds, from_mutations  # noqa: E402

MUTATIONS = {
    "lambda": lambda: random.uniform(0.9, 1.0),
    "clip_param": tune.uniform(0.01, 0.5),
    "lr": [1e-3, 5e-4, 1e-4, 5e-5, 1e-5],
    "epochs": tune.randint(1, 31),
    "batch": tune.qrandint(2000, 160000, 100),
    "optimizer": {"eps": tune.loguniform(1e-9, 1e-5), "kind": tune.choice(["adam", "sgd"]), "beta": tune.quniform(0.0, 1.0, 0.1)},
    "width": tune.lograndint(8, 513),
    "amsgrad": tune.choice([False, True]),
}


def legal(hparams):
    nested = pt.nested(hparams)
    return (
        0.9 <= nested["lambda"] <= 1.0
        and 0.01 <= nested["clip_param"] <= 0.5
        and nested["lr"] in MUTATIONS["lr"]
        and type(nested["epochs"]) is int and 1 <= nested["epochs"] <= 30
        and type(nested["batch"]) is int and 2000 <= nested["batch"] <= 160000 and nested["batch"] % 100 == 0
        and 1e-9 <= nested["optimizer"]["eps"] <= 1e-5
        and nested["optimizer"]["kind"] in ("adam", "sgd")
        and round(nested["optimizer"]["beta"] * 10, 9).is_integer()
        and type(nested["width"]) is int and 8 <= nested["width"] <= 512
        and type(nested["amsgrad"]) is bool
    )  # fmt: skip


def test_no_exploration_leaves_the_mutations():
    space = from_mutations("hyperparam_mutations", MUTATIONS)
    hparams = space.sample(pt.rng(0, "first"))
    seen = {name: set() for name in space}
    for round in range(2000):
        assert legal(hparams), hparams
        for name, value in hparams.items():
            seen[name].add(value)
        hparams = space.perturb(hparams, pt.rng(round), (1.2, 0.8), 0.25)
    assert seen["epochs"] >= set(range(1, 31)) and seen["lr"] == set(MUTATIONS["lr"]) and seen["amsgrad"] == {False, True}


def test_a_bare_function_is_drawn_under_a_key_and_leaves_the_global_generators_alone():
    space = from_mutations("hyperparam_mutations", {"x": lambda: random.random() + np.random.rand()})
    random.seed(7)
    np.random.seed(7)
    expected = random.Random(7).random(), np.random.RandomState(7).rand()
    first = space.sample(pt.rng(1))
    assert space.sample(pt.rng(1)) == first != space.sample(pt.rng(2))
    assert (random.random(), np.random.rand()) == expected


def test_pairs_are_bounds_for_pb2_and_integers_stay_integers():
    bounds = {"lr": [1e-4, 0.1], "epochs": [1, 30], "share": [0, 1], "steps": (1, 9)}
    space = from_bounds("hyperparam_bounds", bounds, [{"steps": 2.0}])
    assert [type(space[name]) for name in space] == [pt.Uniform, pt.Int, pt.Uniform, pt.Uniform]


def pbt_of(**arguments):
    return PopulationBasedTraining(**{"hyperparam_mutations": {"lr": [1]}, **arguments})


@pytest.mark.parametrize(
    "make, message",
    [
        pytest.param(lambda: PB2(hyperparam_bounds={"lr": lambda: 1.0}), r"is a function.*pass \[low, high\]", id="function"),
        pytest.param(lambda: PB2(hyperparam_bounds={"lr": [0.1, 1e-4]}), r"\[low, high\] with low < high", id="reversed"),
        pytest.param(lambda: PB2(), "hyperparam_bounds is empty", id="empty"),
        pytest.param(lambda: pbt_of(hyperparam_mutations={"lr": tune.sample_from(lambda _: 1)}), "sample_from", id="sample_from"),
        pytest.param(lambda: pbt_of(hyperparam_mutations={"lr": tune.randn(0, 1)}), "randn has no bounds", id="randn"),
        pytest.param(lambda: pbt_of(hyperparam_mutations={"lr": 0.1}), "expected a list", id="number"),
        pytest.param(lambda: pbt_of(hyperparam_mutations={}), "hyperparam_mutations is empty", id="none"),
        pytest.param(lambda: pbt_of(perturbation_interval=0), "perturbation_interval=0", id="interval"),
        pytest.param(lambda: pbt_of(quantile_fraction=0.7), "0.7", id="quantile"),
        pytest.param(lambda: pbt_of(mode="best"), "mode='best'", id="mode"),
    ],
)
def test_what_cannot_be_is_refused_with_the_fix(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def explored_by(function, given, mutations=None):
    """Runs PBT with a custom explore function without Ray, and returns its history."""
    mutations = mutations or {"optimizer": {"lr": tune.uniform(1e-3, 0.1)}, "epochs": [1, 2, 4]}
    settings = {"interval": 2, "warmup": 0, "sync": True, "explore": pt.perturb(resample=0.25)}
    algorithm = drop_in._pbt(4, given, mutations=mutations, fraction=0.5, then=function, **settings)

    def train(carry, hp, steps, seed):
        x = (1.0 if carry is None else carry) * (1 - 2 * hp["optimizer"]["lr"]) ** steps
        return x, {"score": 1 - x * x}

    return pt.run(algorithm, train, stop=pt.steps(8)).history


def clones(history):
    found = [history.task(id) for id in range(history.n) if history.task(id).parent is not None]
    return [task for task in found if history.task(task.parent).member != task.member]


def test_a_custom_explore_function_sees_the_whole_config_of_its_donor_and_stays_in_the_range():
    given = [{"env": f"env-{seat}", "optimizer": {"lr": 0.01 * (seat + 1)}, "model": {"width": 8}} for seat in range(4)]
    seen = []

    def explore(config):
        seen.append((config["env"], config["model"]))
        config["optimizer"]["lr"], config["epochs"] = 7.0, 3  # out of the range, and between two of the list
        return config

    history = explored_by(explore, given)
    assert clones(history) and len(seen) == len(clones(history))
    for (env, model), task in zip(seen, clones(history), strict=True):
        assert env == f"env-{history.task(history.ancestry(task.parent)[0]).member}" and model == {"width": 8}
        assert dict(task.hparams) == {"optimizer.lr": 0.1, "epochs": 2}
    assert given[0] == {"env": "env-0", "optimizer": {"lr": 0.01}, "model": {"width": 8}}


def test_random_numbers_in_a_custom_explore_function_are_the_run_s():
    def explore(config):
        config["optimizer"]["lr"] = random.uniform(1e-3, 0.1)
        return config

    assert explored_by(explore, [{}] * 4).table() | {"seconds": 0} == explored_by(explore, [{}] * 4).table() | {"seconds": 0}


@pytest.mark.parametrize("change, message", [
    pytest.param(lambda config: config.update(model={"width": 16}), "changed 'model.width', which is not explored", id="other"),
    pytest.param(lambda config: config.pop("epochs"), "dropped 'epochs'", id="dropped"),
])  # fmt: skip
def test_a_custom_explore_function_that_changes_what_is_not_explored_is_refused(change, message):
    def explore(config):
        change(config)
        return config

    with pytest.raises(UsageError, match=message):
        explored_by(explore, [{"model": {"width": 8}}] * 4)


def test_both_drop_in_schedulers_tune_a_real_experiment(tmp_path):
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False,
             runtime_env={"env_vars": {"PYTHONPATH": ":".join([str(Path(__file__).parents[1]), *sys.path])}})  # fmt: skip
    try:
        mutations = {"lr": tune.qloguniform(1e-3, 0.1, 1e-3)}
        timed = PopulationBasedTraining(perturbation_interval=0.06, hyperparam_mutations=mutations)
        pb2 = PB2("training_iteration", perturbation_interval=3, hyperparam_bounds={"lr": [1e-3, 0.1]}, synch=True)
        for name, scheduler in (("timed", timed), ("pb2", pb2)):
            tune_config = tune.TuneConfig(metric="score", mode="max", num_samples=3, scheduler=scheduler, reuse_actors=True)
            run_config = tune.RunConfig(storage_path=str(tmp_path), name=name, stop={"training_iteration": 12}, verbose=0)
            results = tune.Tuner(toys.Slow, tune_config=tune_config, run_config=run_config).fit()
            history = scheduler.history
            assert not results.errors and history.seats == 3 and all(1e-3 <= lr <= 0.1 for lr in history.table()["lr"])
        assert all(round(lr * 1000, 6).is_integer() for lr in timed.history.table()["lr"])
        full = [id for id in range(timed.history.n) if len(timed.history.result(id).curve) > 1]
        assert all(timed.history.step(id) - timed.history.step(timed.history.task(id).parent) >= 60 for id in full[:3])  # in ms
    finally:
        ray.shutdown()
