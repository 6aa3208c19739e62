"""The best result by evidence: what is known of the noise of a score is used."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from poptrain.core import History, Result, Task
from poptrain.core.evidence import best_by_evidence

ROUNDS, EPISODES, SPREAD = 12, 25, 50.0


def learner(with_returns: bool, seed: int) -> History:
    """Returns a member that gains much more in an interval than one score is wrong by, and whose last score is a lucky one."""
    g, history = np.random.default_rng(seed), History(seed, None)
    for k in range(ROUNDS):
        history = history.add((Task(k, 0, {}, None if k == 0 else k - 1, 1, seed=k),))
        returns = g.normal(100 * k, SPREAD, EPISODES)
        told = {"returns": tuple(returns)} if with_returns else {}
        history = history.add((Result(k, float(np.mean(returns)), k + 1, checkpoint=f"c{k}", **told),))
    return history


def noise(history: History) -> float:
    """Returns the noise of one score as the evidence states it."""
    found = best_by_evidence(history)
    assert found is not None and found.task == ROUNDS - 1
    return float(re.search(r"noise of one score: ([\d.e+-]+)", found.text)[1])


def test_fast_learning_is_not_taken_for_certainty():
    truth = SPREAD / EPISODES**0.5
    assert all(truth / 1.3 < noise(learner(True, seed)) < truth * 1.3 for seed in range(5))


def test_scores_without_returns_still_have_a_best():
    found = best_by_evidence(learner(False, 0))
    assert found.task == ROUNDS - 1 and "do not tell noise from learning" in found.text, (
        "scores alone do not tell one from the other"
    )


def falling(unit: float, seed: int) -> History:
    """Returns a member whose loss falls by decades, with noise in proportion to it; its score at step 21 is a lucky one."""
    g, history = np.random.default_rng(seed), History(0, None, sign=-1)
    for k in range(40):
        loss = unit * np.exp(-k / 4 + 0.8 * g.standard_normal() - (8.0 if k == 20 else 0.0))
        history = history.add((Task(k, 0, {}, None if k == 0 else k - 1, 1, seed=k),))
        history = history.add((Result(k, -float(loss), k + 1, checkpoint=f"c{k}"),))
    return history


def test_losses_that_fall_by_decades_are_compared_by_their_logarithms():
    wrong = []
    for seed in range(20):
        found = [best_by_evidence(falling(unit, seed)) for unit in (1e-9, 1.0, 1e9)]
        assert [each.task for each in found] == [39, 39, 39], found
        levels = [float(re.search(r"lineage: ([\d.e+-]+\d)", each.text)[1]) for each in found]
        assert np.allclose(np.array(levels) / [1e-9, 1.0, 1e9], levels[1]), "the unit of a loss changes nothing"
        wrong.append(abs(np.log(levels[1]) + 39 / 4))
    assert np.median(wrong) < 0.8 * 0.7, "less wrong than half of the single scores are"


def steady(extra: Callable[[int], float], seed: int) -> History:
    """Returns four members with steady scores: member 1 is better by two sizes of the noise, member 2 gets what is extra."""
    g, history, last = np.random.default_rng(seed), History(seed, None), dict[int, int]()
    for k in range(40):
        for member in range(4):
            id = 4 * k + member
            score = 0.2 * (member == 1) + 0.1 * float(g.standard_normal()) + (extra(k) if member == 2 else 0.0)
            history = history.add((Task(id, member, {}, last.get(member), 1, seed=id),))
            history = history.add((Result(id, score, k + 1, checkpoint=f"c{id}"),))
            last[member] = id
    return history


@pytest.mark.parametrize("when", [{39}, {20}, {10, 39}, {3, 12, 30}], ids=str)
def test_a_lucky_evaluation_among_steady_ones_is_not_believed(when):
    for seed in range(5):
        history = steady(lambda k: 20.0 * (k in when), seed)
        found = best_by_evidence(history)
        assert history.task(found.task).member == 1, found.text


@pytest.mark.parametrize("first", [38, 37, 30, 20, 2])
def test_a_leap_is_believed_from_its_second_score_on(first):
    for seed in range(5):
        history = steady(lambda k: 5.0 * (k >= first), seed)
        found = best_by_evidence(history)
        assert history.task(found.task).member == 2, found.text
        assert abs(float(re.search(r"lineage: ([\d.e+-]+\d)", found.text)[1]) - 5) < 0.5, found.text
