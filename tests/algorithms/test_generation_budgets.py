"""The budget of BG-PBT with generations holds for members that fail, and for members at different steps."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan

import pytest

import poptrain as pt
from poptrain.core.fingerprint import as_begun, as_logged, describe, differences
from poptrain.testing import play
from poptrain.testing.simulate import broken, constant, noisy

SPACE = pt.Space(width=pt.Int(1, 3, static=True), lr=pt.Uniform(0.0, 1.0))


def algorithm(population, distill, every, candidates=None, sync=True, **options):
    generations = pt.Generations(distill=distill, every=every, patience=4, most=3, candidates=candidates)
    return pt.bg_pbt(SPACE, population=population, interval=3, generations=generations, window=4, sync=sync, **options)


FAILING = algorithm(5, 3, 5, 7)
CASES = {
    "some members fail": (FAILING, broken(0.3, nan), 50, "shuffled"),
    "half of the members fail, asynchronous": (algorithm(5, 4, 17, 6, sync=False), broken(0.5, -inf), 71, "shuffled"),
    "asynchronous": (algorithm(3, 14, 14, sync=False, exploit=pt.truncation(0.34)), noisy, 48, "fifo"),
    "asynchronous, newest first": (algorithm(5, 14, 13, sync=False), constant, 88, "lifo"),
}


@pytest.mark.parametrize("case", CASES)
def test_all_tasks_together_train_at_most_the_budget_of_the_members(case):
    search, objective, budget, order = CASES[case]
    for seed in (0, 1):
        history = play(search, objective, seed=seed, budget=budget, order=order)
        trained = sum(history.task(id).steps for id in range(history.n))
        assert trained <= search.population * budget
        assert max(map(history.step, range(history.n))) <= budget
        assert any(history.task(id).role == "candidate" for id in range(history.n))
        if objective in (noisy, constant):
            assert trained > (search.population - 1) * budget, "steps that are left would be trained"


def test_a_run_from_before_goes_on_as_it_was_begun():
    then = json.loads(json.dumps(describe(FAILING)))
    del then["counts_all"]
    begun = as_logged(FAILING, then)
    assert begun == replace(FAILING, counts_all=False) and not list(differences(then, describe(begun)))
    history = play(begun, broken(0.3, nan), seed=1, budget=50, order="shuffled")
    assert sum(history.task(id).steps for id in range(history.n)) > 5 * 50, "only candidates counted"
    same = [play(each, noisy, budget=30) for each in (FAILING, begun)]  # nothing fails, and all members are at one step
    assert [same[0].task(id) for id in range(same[0].n)] == [same[1].task(id) for id in range(same[1].n)]


@pytest.mark.parametrize("distill", [1, 2, 3, 5])
def test_a_short_distillation_is_not_trained_longer_than_it_is(distill):
    rungs = pt.Generations(distill=distill, candidates=16).rungs(17, 2, 5)
    assert sum(rung.steps for rung in rungs) == distill and rungs[-1].end == 1


def test_more_candidates_than_a_run_has_seats_are_refused():
    with pytest.raises(pt.UsageError, match="1,048,576"):
        algorithm(4, 10, 10, 2_000_000)


def test_a_run_with_generations_goes_on_with_the_defaults_that_it_began_with():
    now = pt.bg_pbt(SPACE, interval=3, generations=pt.Generations())
    then = json.loads(json.dumps(describe(replace(now, within=replace(now.within, explore=now.within.earlier["explore"][-1])))))
    assert not list(differences(then, describe(as_begun(now, then)))) and list(differences(then, describe(now)))
    named = pt.bg_pbt(SPACE, interval=3, generations=pt.Generations(), retune=1.0)
    assert list(differences(then, describe(as_begun(named, then)))), "what the user named is never changed"
