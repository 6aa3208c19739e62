"""``run.judged``: the last states of all members, the best first by a judge of the user's own."""

from __future__ import annotations

import math

import numpy as np
import pytest

import poptrain as pt
from poptrain.testing import Faulty, quadratic

PBT = pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=4, interval=5)


def run(mode="max", trainable=quadratic):
    return pt.run(PBT, trainable, stop=pt.steps(10), mode=mode, progress=False)


@pytest.mark.parametrize(("mode", "kind"), [("max", float), ("min", np.float32)])
def test_the_best_comes_first_and_a_run_that_minimises_has_the_lowest_first(mode, kind):
    found = run(mode).judged(lambda state: kind(state["theta"][0]))
    values = [value for _, value in found]
    assert values == sorted(values, reverse=mode == "max") and {type(value) for value in values} == {float}
    assert sorted(standing.member for standing, _ in found) == [0, 1, 2, 3]
    assert [pytest.approx(value) for value in values] == [standing.load()["theta"][0] for standing, _ in found]
    other = "min" if mode == "max" else "max"
    assert run(mode).judged(lambda state: kind(state["theta"][0]), mode=other)[0].value == values[-1]


def test_what_is_not_a_number_is_the_worst_in_both_modes():
    for mode in ("max", "min"):
        values = iter([3.0, math.nan, 1.0, 2.0])
        found = [value for _, value in run(mode).judged(lambda state, values=values: next(values))]
        assert found[:3] == sorted(found[:3], reverse=mode == "max") and math.isnan(found[3])


def test_members_whose_newest_task_failed_are_left_out():
    part = run(trainable=Faulty("raise", above=0.005, after=5))
    seats = [seat for seat in range(4) if part.history.ok(part.history.head(seat))]
    assert 0 < len(seats) < 4 and sorted(each.standing.member for each in part.judged(lambda state: 1.0)) == seats


def test_a_run_whose_newest_tasks_all_failed_says_so(tmp_path):
    with pytest.raises(pt.errors.RunFailed):
        pt.run(PBT, Faulty("raise", after=5), stop=pt.steps(10), directory=tmp_path / "run", progress=False)
    with pytest.raises(pt.UsageError, match="judged: the newest task of every member failed"):
        pt.open_run(tmp_path / "run").judged(lambda state: 1.0)


@pytest.mark.parametrize(
    ("judge", "options", "words"),
    [
        (3, {}, "judge=3, expected a function: judge(state) -> number"),
        (lambda state: "good", {}, "judge returned 'good' for member 0, expected one number"),
        (lambda state: np.zeros(3), {}, "for member 0, expected one number"),
        (lambda state: True, {}, "judge returned True"),
        (lambda state: 1.0, {"mode": "best"}, "mode='best', expected 'max', 'min' or None"),
    ],
)
def test_mistakes_are_named(judge, options, words):
    with pytest.raises(pt.UsageError) as caught:
        run().judged(judge, **options)
    assert words in str(caught.value)
