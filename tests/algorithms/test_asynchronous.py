"""The steps that members share: whatever the speeds, members reach the budget, and no more than the budgets is trained."""

from __future__ import annotations

from dataclasses import replace

import pytest

import poptrain as pt
from poptrain.core import History, Result
from poptrain.core.fingerprint import as_logged, describe
from poptrain.core.rng import rng
from poptrain.testing.simulate import noisy, play, simulated

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
EXPLOITS = {"truncation": pt.truncation(0.4), "tournament": pt.tournament(ties=True), "welch": pt.welch(0.4)}


def at_speeds(algorithm, seed, budget, slow=0.05, overshoot=0, broken=0.0):
    """Returns the history of a run in which half of the members are `slow` times as fast as the others."""
    history = History(seed, budget)
    for _ in range(5000):
        if tasks := algorithm.ask(history):
            history = history.add(tasks)
        assert algorithm.ask(history) == (), "asked again, the same history gives the same answer"
        pending = history.pending()
        if not pending:
            return history
        speeds = [slow if task.member % 2 else 1.0 for task in pending]
        pick = rng(seed, "speed", history.lines).choice(len(pending), p=[speed / sum(speeds) for speed in speeds])
        task = pending[int(pick)]
        result = simulated(history, task, noisy(history, task))
        if overshoot:
            step = result.step + task.id % overshoot
            result = replace(result, step=step, curve=((step, result.score),))
        if rng(task.seed, "broken").random() < broken:
            result = Result(task.id, float("nan"), result.step)
        history = history.add([result])
    raise AssertionError("the run does not end")


def heads(history):
    return history.heads().tolist()


def left(history, budget):
    return len(heads(history)) * budget - sum(map(history.spent, heads(history)))


@pytest.mark.parametrize("exploit", EXPLOITS)
@pytest.mark.parametrize("population", [2, 5, 9])
def test_a_member_reaches_the_budget_and_the_steps_that_are_left_bring_no_other_one_there(exploit, population):
    for seed in range(6):
        for interval, budget in ((5, 50), (7, 50)):
            algorithm = pt.pbt(SPACE, population, interval=interval, sync=False, exploit=EXPLOITS[exploit])
            history = at_speeds(algorithm, seed, budget)
            assert max(map(history.step, heads(history))) == budget and left(history, budget) >= 0
            early = [id for id in heads(history) if history.step(id) < budget]
            assert all(budget - history.step(id) > left(history, budget) for id in early)


def test_the_old_rule_ends_runs_without_a_member_at_the_budget():
    def ended(shared):
        algorithm = replace(
            pt.pbt(SPACE, 4, interval=5, sync=False, exploit=EXPLOITS["tournament"], explore=pt.perturb(), starts="random"),
            shared_budget=shared,
        )
        runs = [at_speeds(algorithm, seed, 50) for seed in range(12)]
        return sum(max(map(history.step, heads(history))) == 50 for history in runs)

    assert ended(True) == 12 > ended(False)


def test_steps_that_failed_are_paid_by_the_population_and_the_run_ends():
    for seed in range(6):
        algorithm = pt.pbt(SPACE, 6, interval=5, sync=False, exploit=EXPLOITS["truncation"])
        assert left(at_speeds(algorithm, seed, 50, broken=0.3), 50) >= 0


def test_a_trainable_that_trains_more_steps_than_asked_stays_within_one_interval_a_member():
    for seed in range(6):
        algorithm = pt.pbt(SPACE, 6, interval=5, sync=False, exploit=EXPLOITS["truncation"])
        history = at_speeds(algorithm, seed, 50, overshoot=3)
        assert max(map(history.step, heads(history))) >= 50 and left(history, 50) >= -6 * 5


def test_controls_always_reach_the_budget():
    for seed in range(6):
        algorithm = pt.pbt(SPACE, 6, interval=5, sync=False, exploit=EXPLOITS["tournament"], controls=2)
        assert all(history.step(id) == 50 for history in [at_speeds(algorithm, seed, 50)] for id in heads(history)[4:])


def test_synchronous_runs_decide_as_they_did():
    for copy in ("both", "hparams"):
        algorithm = pt.pbt(SPACE, 6, interval=5, exploit=EXPLOITS["truncation"], copy=copy)
        new, old = play(algorithm, noisy), play(replace(algorithm, shared_budget=False), noisy)
        assert [new.line(k) for k in range(new.lines)] == [old.line(k) for k in range(old.lines)]


def test_an_experiment_that_has_not_changed_continues_an_old_log_by_its_old_rule():
    algorithm = pt.pbt(SPACE, 4, interval=5, sync=False)
    then = {name: value for name, value in describe(algorithm).items() if name != "shared_budget"}
    assert as_logged(algorithm, then) == replace(algorithm, shared_budget=False)
    assert as_logged(algorithm, describe(algorithm)) is algorithm
