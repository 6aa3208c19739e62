"""A person who knows Ray Tune or Optuna reads what to write here."""

from __future__ import annotations

import copy
import inspect
import pickle
from types import SimpleNamespace

import pytest

import poptrain as pt
from poptrain.core.errors import UsageError
from poptrain.core.other_names import PARAMETERS, PUBLIC, RESULTS

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))


def of(module, name, **fields):
    """Returns an object of a class of another library, which may not be installed."""
    return type(name, (SimpleNamespace,), {"__module__": module})(**fields)


class Sampler:
    """A sampler object, as Optuna has them."""


log_uniform = of("ray.tune.search.sample", "_LogUniform")


@pytest.fixture(scope="module")
def run():
    return pt.run(pt.pbt(SPACE, population=2, interval=1), pt.testing.quadratic, stop=pt.steps(2), progress=False)


MADE_BY_RUNS = {"History", "Lost", "Result", "Task"}  # by the million, so that no wrapper stands around their constructors


@pytest.mark.parametrize("name", sorted(set(pt.__all__) - MADE_BY_RUNS))
def test_every_public_call_answers_an_argument_that_it_does_not_have(name):
    """The error is a `UsageError` and a `TypeError`, names the argument, and the one that was meant if that is near."""
    function = getattr(pt, name)
    if not callable(function) or (isinstance(function, type) and issubclass(function, Exception)):
        return
    parameters = inspect.signature(function).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):  # a space: every name is a hyperparameter
        return
    with pytest.raises(pt.UsageError, match="'unknown_word'") as caught:
        function(unknown_word=1)
    assert isinstance(caught.value, TypeError) and all(each in str(caught.value) for each in parameters)
    for each in parameters:
        with pytest.raises(TypeError, match=f"'{each}x'.*Did you mean '"):
            function(**{f"{each}x": 1})


@pytest.mark.parametrize(
    ("given", "first"), [([1, 2], "Choice(1, 2)"), ((1, 2), "LogUniform(1, 2)"), ([1, 2, 3], "Choice(1, 2, 3)")]
)
def test_a_collection_in_a_space_is_answered_with_the_likeliest_parameter_first(given, first):
    with pytest.raises(pt.UsageError) as caught:
        pt.Space(lr=given)
    assert f"did you mean {first}" in str(caught.value)
    assert len(given) != 2 or ("Choice(1, 2)" in str(caught.value) and "LogUniform(1, 2)" in str(caught.value))


def test_a_study_has_seeds():
    with pytest.raises(pt.UsageError, match="pt.study has no argument 'seed'. Did you mean 'seeds'"):
        pt.study({}, pt.testing.quadratic, seed=3)


@pytest.mark.parametrize("name", ["quniform", "ASHAScheduler", "MedianPruner", "TPESampler", "sample_from", "lograndint"])
def test_names_of_the_module_are_answered(name):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'. Write pt"):
        getattr(pt, name)


@pytest.mark.parametrize(("name", "expected"), [("best_params", "run.best.hparams"), ("to_panda", "Did you mean 'to_pandas'")])
def test_names_of_a_result_are_answered(run, name, expected):
    with pytest.raises(AttributeError, match=expected):
        getattr(run, name)
    assert not hasattr(run.best, "config") and not hasattr(run, "_ipython_display_")
    assert copy.copy(run).best.score == run.best.score


def test_no_answer_names_something_that_exists_under_that_name(run):
    real = {"run.best.hparams", "run.best.score", "run.best", "run.best.metrics"}
    for expression in real & set(RESULTS.values()):
        eval(expression, {"run": run})
    assert not [name for name in RESULTS if name in dir(run)]
    assert not [name for name in PUBLIC if name in dir(pt)]


@pytest.mark.parametrize(
    ("make", "name", "expected"),
    [
        (lambda: pt.Uniform(1e-4, 1, log=True), "log", r"LogUniform\(low, high\)"),
        (lambda: pt.Int(1, 9, step=2), "step", "Ordinal"),
        (lambda: pt.Choice(choices=["a"]), "choices", "one by one"),
    ],
)
def test_arguments_of_a_range_are_answered(make, name, expected):
    with pytest.raises(UsageError, match=f"has no argument '{name}'. Write .*{expected}"):
        make()
    assert name in PARAMETERS


def test_ranges_can_be_copied_and_pickled():
    for each in (pt.Uniform(0, 1), pt.LogInt(1, 8, static=True), pt.Choice("a", "b")):
        assert copy.deepcopy(each) == pickle.loads(pickle.dumps(each)) == each


@pytest.mark.parametrize(
    ("foreign", "expected"),
    [
        (of("ray.tune.search.sample", "Float", lower=1e-4, upper=0.1, sampler=log_uniform), "LogUniform(0.0001, 0.1)"),
        (of("ray.tune.search.sample", "Float", lower=0.0, upper=1.0, sampler=None), "Uniform(0.0, 1.0)"),
        (of("ray.tune.search.sample", "Integer", lower=1, upper=9, sampler=SimpleNamespace(sampler=log_uniform)), "LogInt(1, 8)"),
        (of("ray.tune.search.sample", "Categorical", categories=["a", "b"]), "Choice('a', 'b')"),
        (of("optuna.distributions", "FloatDistribution", low=0.1, high=2.0, log=True, step=None), "LogUniform(0.1, 2.0)"),
        (of("optuna.distributions", "IntDistribution", low=1, high=8, log=False, step=1), "Int(1, 8)"),
        (of("optuna.distributions", "CategoricalDistribution", choices=("a", 2)), "Choice('a', 2)"),
    ],
)
def test_ranges_of_other_libraries_are_translated(foreign, expected):
    with pytest.raises(UsageError) as caught:
        pt.Space(lr=foreign)
    assert str(caught.value) == f"Space: lr is a range of another library; write {expected}."
    assert eval(f"pt.{expected}")


def test_so_are_those_of_the_libraries_themselves():
    optuna = pytest.importorskip("optuna")
    with pytest.raises(UsageError, match=r"write LogUniform\(0.0001, 0.1\)"):
        pt.Space(lr=optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True))


def test_a_sampler_object_is_answered_with_the_function_that_makes_it():
    with pytest.raises(UsageError, match=r"write sampler=lambda seed: Sampler\(seed=seed\)"):
        pt.optuna_search(SPACE, population=4, sampler=Sampler())


@pytest.mark.parametrize("name", ["trial", "config"])
def test_a_training_function_of_another_library_is_answered(name):
    train = eval(f"lambda {name}: 1.0")
    with pytest.raises(UsageError, match=rf"expected the arguments \(carry, hp, steps, seed\). The values of '{name}' are in hp"):
        pt.run(pt.pbt(SPACE, population=2, interval=1), train, stop=pt.steps(2))
