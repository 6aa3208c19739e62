"""Optuna search: the study that is rebuilt from the history proposes what a living one would, and its cost is sequential."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import poptrain as pt
from poptrain.core import Result
from poptrain.core.rng import rng
from poptrain.testing import play
from poptrain.testing.simulate import simulated

SPACE = pt.Space(a=pt.Uniform(0.0, 1.0), b=pt.LogUniform(1e-4, 1.0), kind=pt.Choice("x", "y", "z"))


def hill(history, task):
    """Best at a = 0.3, b = 0.01, kind = y."""
    away = (task.hparams["a"] - 0.3) ** 2 + (np.log10(task.hparams["b"]) / 4 + 0.5) ** 2
    return -float(away) - 0.2 * (task.hparams["kind"] != "y")


def test_without_optuna_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'poptrain\[optuna\]'"):
        pt.optuna_search(SPACE)


@pytest.mark.parametrize(
    "options, message",
    [({"sampler": "tpee"}, "Did you mean 'tpe'"), ({"parallel": 0}, "parallel=0"), ({"population": 0}, "population=0"),
     ({"interval": 0}, "interval=0"), ({"population": 1, "initial": [{}, {}]}, "raise population")],
    ids=["sampler", "parallel", "population", "interval", "initial"],
)  # fmt: skip
def test_bad_arguments_are_named(options, message):
    with pytest.raises(pt.UsageError, match=message):
        pt.optuna_search(SPACE, **options)


@pytest.mark.heavy
def test_the_rebuilt_study_proposes_what_a_living_one_does():
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    history = play(pt.optuna_search(SPACE, population=25), hill, seed=7)
    living = optuna.create_study(direction="maximize")
    unit = optuna.distributions.FloatDistribution(0.0, 1.0)
    distributions = {"a": unit, "b": unit, "kind": optuna.distributions.CategoricalDistribution(range(3))}
    for id in range(25):
        living.sampler = optuna.samplers.TPESampler(seed=int(rng(7, id, "optuna").integers(2**31)), constant_liar=True)
        trial = living.ask(distributions)
        task = history.task(id)
        assert np.allclose(SPACE.encode(task.hparams), [trial.params[name] for name in SPACE], atol=1e-6)
        living.tell(trial, hill(history, task))


@pytest.mark.heavy
@pytest.mark.parametrize("sampler, runs, seeds", [("tpe", 40, 6), ("gp", 15, 2)], ids=["tpe", "gp"])
def test_samplers_learn_from_the_runs_before(sampler, runs, seeds):
    plays = [play(pt.optuna_search(SPACE, population=runs, sampler=sampler), hill, seed=seed) for seed in range(seeds)]
    first = np.mean([history.scores[:10].mean() for history in plays])  # ten random ones
    last = np.mean([history.scores[-(runs - 10) :][-10:].mean() for history in plays])
    assert last > first + 0.1
    if sampler == "tpe":
        free = np.mean([play(pt.random_search(SPACE, runs, interval=50), hill, seed=seed).scores.max() for seed in range(seeds)])
        assert np.mean([history.scores.max() for history in plays]) > free


@pytest.mark.heavy
def test_runs_follow_one_another_as_many_at_a_time_as_was_asked_for():
    for parallel in (1, 3):
        algorithm, history = pt.optuna_search(SPACE, population=7, parallel=parallel), pt.History(0, 50)
        while tasks := algorithm.ask(history):
            history = history.add(tasks)
            assert len(history.open()) == min(parallel, 7 - (history.n - len(history.open())))
            first = history.pending()[0]
            history = history.add([simulated(history, first, 0.0)])
        assert [history.task(id).steps for id in range(7)] == [50] * 7 and all(history.task(id).parent is None for id in range(7))


@pytest.mark.heavy
def test_a_failed_run_counts_as_the_worst_and_is_avoided():
    def cliff(history, task):
        return float("nan") if task.hparams["a"] > 0.4 else hill(history, task)

    tried = [play(pt.optuna_search(SPACE, population=40), cliff, seed=seed) for seed in range(4)]
    failed = [np.mean([history.task(id).hparams["a"] > 0.4 for id in range(25, 40)]) for history in tried]
    assert np.mean(failed) < 0.35, "60 % of the range fails"
    history = pt.History(0, 50)
    algorithm = pt.optuna_search(SPACE, population=3)
    for _ in range(3):  # all failed: nothing is known, and nothing breaks
        (task,) = algorithm.ask(history)
        history = history.add([task]).add([Result(task.id, float("nan"), 0, error="boom")])
    assert algorithm.ask(history) == ()


@pytest.mark.heavy
def test_a_run_needs_an_end_and_interval_gives_its_curve():
    with pytest.raises(pt.UsageError, match="pass stop=pt.steps"):
        pt.optuna_search(SPACE).ask(pt.History(0, None))
    search = pt.optuna_search(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=3, interval=5, initial=[{"lr": 0.01}])
    run = pt.run(search, pt.testing.quadratic, stop=pt.steps(20))
    assert run.history.task(0).hparams == {"lr": 0.01} and [step for step, _ in run.history.result(2).curve] == [5, 10, 15, 20]


@pytest.mark.heavy
def test_optuna_keeps_its_verbosity():
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    play(pt.optuna_search(SPACE, population=3), hill)
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING


@pytest.mark.heavy
def test_ask_never_touches_the_level_of_a_logger_or_the_filters_of_warnings(monkeypatch):
    import logging
    import warnings

    search, history = pt.optuna_search(SPACE, population=3), pt.History(0, 50)
    touched = []
    monkeypatch.setattr(logging.Logger, "setLevel", lambda self, level: touched.append(self.name))
    monkeypatch.setattr(warnings, "simplefilter", lambda *args, **kwargs: touched.append("warnings"))
    while tasks := search.ask(history):
        history = history.add(tasks).add([simulated(history.add(tasks), task, 0.0) for task in tasks])
    assert history.n == 3 and not touched
