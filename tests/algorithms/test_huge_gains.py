"""A few huge gains do no harm to a model: what it learns does not depend on how huge they are."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import poptrain as pt
from poptrain.core.fingerprint import as_begun, as_logged, describe, differences
from poptrain.core.rng import rng
from poptrain.testing import play

SPACE = pt.Space(x=pt.Uniform(0.0, 1.0))
ALGORITHM = pt.bg_pbt(SPACE, population=6, interval=1, window=24, retune=None)
PB2 = pt.pb2(SPACE, population=6, interval=1, window=24, evaluate_first=False)


def exploding(share, huge):
    """Returns an objective that is best at x = 0.7, and under which a share of the tasks scores about -`huge`."""

    def objective(history, task):
        before = history.score(task.parent) if task.parent is not None else 0.0
        if task.steps and rng(task.seed, "explodes").random() < share:
            return -huge * (1 + rng(task.seed, "size").random())
        gain = 0.1 * (1 - (task.hparams["x"] - 0.7) ** 2) if task.steps else 0.0
        return gain + (before if before > -1e3 else 0.0)

    return objective


def decided(algorithm, share, huge):
    history = play(algorithm, exploding(share, huge), budget=6)
    tasks = [history.task(id) for id in range(history.n)]
    assert any(task.forecast and task.forecast.source == "model" for task in tasks)
    assert not any("nothing to learn" in task.note for task in tasks)
    return [(task.parent, dict(task.hparams)) for task in tasks]


@pytest.mark.parametrize("share", [0.04, 0.2])
@pytest.mark.parametrize("algorithm", [ALGORITHM, PB2])
def test_the_decisions_do_not_depend_on_the_size_of_the_huge_gains(algorithm, share):
    assert decided(algorithm, share, 1e6) == decided(algorithm, share, 1e22)


@pytest.mark.parametrize("algorithm", [ALGORITHM, PB2, pt.pb2(SPACE, population=6, interval=1, candidates=3)])
def test_a_run_from_before_goes_on_without_it(algorithm):
    then = json.loads(json.dumps(describe(algorithm)))
    del then["explore"]["robust"]
    begun = as_logged(as_begun(algorithm, then), then)
    assert begun.explore == replace(algorithm.explore, robust=False) and not list(differences(then, describe(begun)))


@pytest.mark.parametrize("algorithm", [ALGORITHM, PB2])
def test_gains_of_one_size_are_measured_as_before(algorithm):
    objective = exploding(0.0, 1.0)
    histories = [
        play(replace(algorithm, explore=replace(algorithm.explore, robust=robust)), objective, budget=6)
        for robust in (True, False)
    ]
    same = [[(task.parent, task.hparams) for task in map(each.task, range(each.n))] for each in histories]
    assert same[0] == same[1] and np.isfinite(histories[0].scores).all()
