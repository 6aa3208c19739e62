"""The best result by evidence: what is known of the noise of a score is used."""

import re

import numpy as np

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


def falling(unit: float) -> History:
    """Returns a member whose loss falls by decades, with noise in proportion to it; its score at step 21 is a lucky one."""
    g, history = np.random.default_rng(0), History(0, None, sign=-1)
    for k in range(40):
        loss = unit * np.exp(-k / 4 + 0.8 * g.standard_normal() - (8.0 if k == 20 else 0.0))
        history = history.add((Task(k, 0, {}, None if k == 0 else k - 1, 1, seed=k),))
        history = history.add((Result(k, -float(loss), k + 1, checkpoint=f"c{k}"),))
    return history


def test_losses_that_fall_by_decades_are_compared_by_their_logarithms():
    found = [best_by_evidence(falling(unit)) for unit in (1e-9, 1.0, 1e9)]
    assert [each.task for each in found] == [39, 39, 39], found
    levels = [float(re.search(r"lineage: ([\d.e+-]+\d)", each.text)[1]) for each in found]
    assert np.allclose(np.array(levels) / [1e-9, 1.0, 1e9], levels[1]), "the unit of a loss changes nothing"
    assert 1 / 3 < levels[1] / np.exp(-39 / 4) < 3
