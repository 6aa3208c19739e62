"""A trainable that knows its hyperparameters is asked before anything is trained or written."""

import pytest

import poptrain as pt
from poptrain.rl import PPO, TD3

CASES = {
    "an unknown name": (PPO(env="jax/Pendulum-v1"), {"gama": pt.Uniform(0.9, 0.99)}, "PPO has no hyperparameter 'gama'"),
    "one end out of range": (PPO(env="jax/Pendulum-v1"), {"clip": pt.Uniform(-1.0, 0.5)}, "clip=.* is not within"),
    "one option out of range": (TD3(env="jax/Pendulum-v1"), {"discount": pt.Choice(0.9, 1.5, 0.8)}, "discount=1.5"),
    "a placeholder": (pt.command("python train.py {checkpoint} {rate}"), {"lr": pt.Uniform(0.0, 1.0)}, "rate"),
}


@pytest.mark.parametrize(("trainable", "space", "says"), CASES.values(), ids=CASES)
def test_a_space_that_does_not_fit_is_refused_with_nothing_left_behind(tmp_path, trainable, space, says):
    directory = tmp_path / "run"
    with pytest.raises(pt.errors.UsageError, match=says):
        pt.run(pt.random_search(pt.Space(space), 2, interval=5), trainable, stop=pt.steps(10), directory=directory)
    assert not directory.exists()


def test_the_ends_of_a_space_with_a_repair_may_never_be_given():
    ends = {"clip": pt.Uniform(-0.5, 1.0)}
    with pytest.raises(pt.errors.UsageError):
        pt.Experiment(pt.random_search(pt.Space(ends), 2, interval=5), CASES["an unknown name"][0], stop=pt.steps(10))
    repaired = pt.Space(ends, repair=lambda hparams: {"clip": max(0.1, hparams["clip"])})
    pt.Experiment(pt.random_search(repaired, 2, interval=5), CASES["an unknown name"][0], stop=pt.steps(10))


@pytest.mark.parametrize(("factors", "says"), [({"lr": (0.5, 2)}, "the factors lack 'n'"), ({"rl": (0.5, 2)}, "'rl'")], ids=str)
def test_factors_with_other_names_than_the_space_are_refused_before_anything_is_trained(factors, says):
    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), n=pt.Int(1, 8), width=pt.Ordinal(32, 64, static=True))
    with pytest.raises(pt.errors.UsageError, match=says):
        pt.pbt(space, 4, interval=5, explore=pt.perturb(factors))
    named = pt.perturb({"lr": (0.5, 2), "n": (0.5, 2)})
    pt.Experiment(pt.pbt(space, 4, interval=5, explore=named), lambda *given: None, stop=pt.steps(10))


def test_a_schedule_that_changes_a_static_value_is_refused_before_anything_is_trained():
    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), width=pt.Ordinal(32, 64, static=True))
    widens = [(0, {"lr": 0.1, "width": 32}), (5, {"lr": 0.01, "width": 64})]
    with pytest.raises(pt.errors.UsageError, match="'width' changes from 32 to 64 at step 5"):
        pt.schedule_replay([widens], space=space)
    both = [[(0, {"lr": 0.1, "width": width}), (5, {"lr": 0.01, "width": width})] for width in (32, 64)]
    pt.Experiment(pt.schedule_replay(both, space=space), lambda *given: None, stop=pt.steps(10))
