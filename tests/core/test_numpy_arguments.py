"""A number of numpy is the Python number that it stands for, in every argument."""

from __future__ import annotations

import json

import numpy as np
import pytest

import poptrain as pt
from poptrain.core.arguments import SCALARS, plain
from poptrain.testing import quadratic

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))


def run(whole, real, flag, **options):
    algorithm = pt.pbt(SPACE, population=whole(4), interval=whole(5), exploit=pt.truncation(real(0.25)))
    stop = pt.any_of(pt.steps(whole(10)), pt.generations(whole(9)), pt.score(real(2.0)))
    return pt.run(algorithm, quadratic, stop=stop, seed=whole(3), progress=flag(False), keep=[whole(0)])


def test_a_run_with_numbers_of_numpy_is_that_with_numbers_of_python():
    one, other = run(int, float, bool), run(np.int64, np.float32, np.bool_)
    assert json.dumps(one.record.run) == json.dumps(other.record.run)
    assert [each.score for each in one.record.results()] == [each.score for each in other.record.results()]
    assert one.schedule(np.int64(2)) == other.schedule(2) and one.schedule().at(np.int32(1)) == other.schedule().at(1)


def test_seeds_may_be_an_array():
    study = pt.study(
        {"pbt": pt.pbt(SPACE, population=2, interval=5)}, quadratic, seeds=np.arange(2), stop=pt.steps(5), progress=False
    )
    assert [run.record.run["seed"] for run in study.runs["pbt"]] == [0, 1]


def test_every_scalar_becomes_a_value_that_a_log_can_hold():
    for kind in SCALARS:
        assert type(plain(kind(1))) in (int, float, bool, str), kind
    assert plain(np.arange(3)).shape == (3,), "an array is not a number"


@pytest.mark.parametrize(
    "wrong", [lambda: pt.steps(1e5), lambda: pt.generations(1e5), lambda: pt.pbt(SPACE, population=4, interval=1e5)]
)
def test_a_float_that_is_whole_is_answered_with_what_to_write(wrong):
    with pytest.raises(pt.UsageError, match=r"Write 100_000\."):
        wrong()


def test_a_list_of_conditions_is_answered_with_how_to_pass_them():
    with pytest.raises(pt.UsageError, match=r"any_of\(\*"):
        pt.any_of([pt.steps(3), pt.score(1.0)])
