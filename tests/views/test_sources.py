"""A view, a report and a comparison take a run, or its record; anything else is answered in a sentence."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import poptrain as pt
from poptrain import views
from poptrain.testing import quadratic

OF_RUNS = [
    view
    for name in views.__all__
    if inspect.isfunction(view := getattr(views, name)) and next(iter(inspect.signature(view).parameters), "") == "record"
]


@pytest.fixture(scope="module")
def run():
    space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    return pt.run(pt.pbt(space, population=3, interval=5), quadratic, stop=pt.steps(10), progress=False)


@pytest.mark.parametrize("view", OF_RUNS, ids=lambda view: view.__name__)
def test_a_view_of_a_run_is_that_of_its_record(run, view):
    more = (0, 1) if view is views.faster else ()

    def outcome(source):
        try:
            return repr(view(source, *more))
        except pt.UsageError as error:  # not every algorithm has every view
            return str(error)

    assert outcome(run) == outcome(run.record)
    with pytest.raises(pt.UsageError, match=rf"views.{view.__name__}: got str, .* Write pt.open_run\('runs/x'\)"):
        view("runs/x", *more)


def test_so_is_a_comparison(run):
    assert repr(views.compare([run, run.record])) == repr(views.compare([run.record, run]))
    with pytest.raises(pt.UsageError, match="views.compare: got str, expected a run"):
        views.compare(["a", "b"])


def test_a_member_is_named_by_a_whole_number(run):
    assert run.member(np.int64(1)).task == run.member(1).task
    for wrong in (1.0, "1", True, None, -1, 3):
        with pytest.raises(pt.UsageError, match="this run has members 0 to 2"):
            run.member(wrong)


def test_what_failed_at_the_end_is_told_from_what_never_succeeded(tmp_path):
    def diverging(carry, hp, steps, seed):
        return 1, {"score": 1.0 if carry is None and hp["lr"] > 0.3 else float("nan")}

    space = pt.Space(lr=pt.Uniform(0, 1))
    algorithm = pt.random_search(space, population=2, interval=5, initial=[{"lr": 0.1}, {"lr": 0.9}])
    with pytest.raises(pt.errors.RunFailed), pytest.warns(pt.errors.RunWarning):
        pt.run(algorithm, diverging, stop=pt.steps(20), directory=tmp_path, progress=False)
    run = pt.open_run(tmp_path)
    assert run.best.member == run.member(1).member == 1
    with pytest.raises(pt.UsageError, match=r"newest task of every member failed.* see run\.best"):
        _ = run.final_best
    with pytest.raises(pt.UsageError, match=r"member\(0\) never had a healthy result"):
        run.member(0)


@pytest.mark.parametrize(
    ("name", "says"), [("score", "run.best.score"), ("metrics", "run.best.metrics"), ("hparams", "run.best")]
)
def test_what_belongs_to_the_best_result_is_looked_for_in_the_run(run, name, says):
    with pytest.raises(AttributeError, match=f"Write {says}"):
        getattr(run, name)
