"""While every member is worse than all were at first, PBT draws values from the whole ranges; otherwise nothing changes."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import poptrain as pt
from poptrain import views
from poptrain.algorithms.parts.lost import lost
from poptrain.core.fingerprint import as_begun, describe
from poptrain.core.rng import rng
from poptrain.log.writer import MemoryLog
from poptrain.testing import play

SPACE = pt.Space({f"x{i}": pt.Uniform(0, 1) for i in range(4)} | {"width": pt.Ordinal(8, 16, static=True)})


def declining(history, task):
    """All get worse, whatever their values are."""
    return -history.end(task.id) / 5 + 0.1 * float(rng(history.seed, task.id, "noise").normal())


def noise(history, task):
    return float(rng(history.seed, task.id, "noise").normal())


def slot(history, task):
    """Only one corner of the ranges trains; everything else loses."""
    before = history.score(task.parent) if task.parent is not None else 0.0
    near = sum((task.hparams[f"x{i}"] - 0.9) ** 2 for i in range(2)) < 0.2**2
    return before + (1.0 if near else -0.2) + 0.02 * float(rng(history.seed, task.id, "noise").normal())


def played(algorithm, score, budget=100, seed=0):
    return play(algorithm, score, budget=budget, seed=seed)


def drawn_anew(history):
    return [task for task in map(history.task, range(history.n)) if task.note.get("anew")]


@pytest.mark.parametrize("sync", [True, False])
def test_a_lost_population_draws_from_the_whole_ranges_and_keeps_its_best_quarter(sync):
    history = played(pt.pbt(SPACE, population=8, interval=5, sync=sync, controls=1), declining)
    anew = drawn_anew(history)
    assert len(anew) > 40
    far = [abs(task.hparams["x0"] - history.task(task.parent).hparams["x0"]) for task in anew]
    assert 0.25 < np.mean(far) < 0.42, "two uniform draws are a third of the range apart"
    assert all(lost(history.at(history.issued(task.id)), "worst") for task in anew)
    assert all(task.hparams["width"] == history.task(task.parent).hparams["width"] for task in anew), "static values stay"
    controls = [task for task in map(history.task, range(history.n)) if task.role == "control"]
    assert len({task.hparams["x0"] for task in controls}) == 1
    kept = [task for task in map(history.task, range(history.n)) if task.parent is not None and not task.note and not task.role]
    late = [task for task in kept if lost(history.at(history.issued(task.id)), "worst")]
    assert late, "the quarter that declines least keeps its values"


def test_a_lost_population_is_said():
    history = played(pt.pbt(SPACE, population=8, interval=5), declining)
    log = MemoryLog({"mode": "max", "metric": "score", "seed": history.seed, "budget": history.budget, "interval": 5})
    for number in range(history.lines):
        log.append(history.line(number))
    found, count = views.gauges(log.record), len(drawn_anew(history))
    assert found.anew == count and any(f"from the whole ranges {count} times" in text for text in found.sentences())
    told = views.story(log.record, drawn_anew(history)[0].id)
    assert any("every member was worse than all were at first" in text for text in told.why)


def test_without_a_decline_nothing_changes():
    for score in (noise, lambda history, task: -declining(history, task)):
        with_it, without = (played(pt.pbt(SPACE, population=8, interval=5, anew=anew), score) for anew in (True, False))
        assert [with_it.task(id) for id in range(with_it.n)] == [without.task(id) for id in range(without.n)]


def test_in_noise_alone_a_population_is_hardly_ever_lost():
    found = 0
    for seed in range(100):
        history = played(pt.pbt(SPACE, population=8, interval=5), noise, budget=15, seed=seed)
        found += bool(drawn_anew(history))
    assert found <= 2, "each decision finds it with a probability of 1 / 12,870"


def test_a_lost_population_finds_the_way_out():
    make = partial(pt.pbt, SPACE, population=4, interval=5)
    ends = {
        anew: np.array([played(make(anew=anew), slot, seed=seed).scores[-4:].max() for seed in range(20)])
        for anew in (True, False)
    }
    assert (ends[True] > 0).sum() >= (ends[False] > 0).sum() + 4
    assert ends[True].mean() > ends[False].mean()


def test_members_draw_nothing_before_the_warmup():
    history = played(pt.pbt(SPACE, population=8, interval=5, warmup=50), declining)
    assert min(history.begin(task.id) for task in drawn_anew(history)) == 50


@pytest.mark.parametrize("how", [{"as_in": "paper"}, {"explore": None}, {"explore": pt.perturb()}, {"anew": False}])
def test_a_user_who_names_the_explore_gets_that_one_alone(how):
    algorithm = pt.pbt(SPACE, population=8, interval=5, **how)
    assert not algorithm.anew and not drawn_anew(played(algorithm, declining))
    if how != {"anew": False}:
        assert pt.pbt(SPACE, population=8, interval=5, anew=True, **how).anew, "an option that is named holds"


def test_a_run_from_before_the_option_goes_on_without_it():
    algorithm = pt.pbt(SPACE, population=8, interval=5)
    old = {name: value for name, value in dict(describe(replace(algorithm, anew=False))).items() if name != "anew"}
    assert algorithm.anew and not as_begun(algorithm, old).anew
    assert as_begun(pt.pbt(SPACE, population=8, interval=5, anew=True), old).anew, "what the user named is never changed"
