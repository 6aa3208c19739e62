"""Ray's schedulers by another import: the same arguments, with the bounds, types and errors that Ray's lack."""

from __future__ import annotations

import random

import numpy as np
import pytest

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.heavy

from ray import tune  # noqa: E402

import poptrain as pt  # noqa: E402
from poptrain.errors import UsageError  # noqa: E402
from poptrain.integrations.ray_tune import PB2, PopulationBasedTraining  # noqa: E402
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
        pytest.param(lambda: PB2(hyperparam_bounds={"lr": lambda: 1.0}), r"is a function.*give \[low, high\]", id="function"),
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
