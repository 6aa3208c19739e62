"""TV.EXP3.M: probabilities, draws, updates, and what it learns."""

from __future__ import annotations

import numpy as np
import pytest

from poptrain.algorithms import bandit
from poptrain.core.rng import rng


def test_reference_vectors_of_gamma_and_the_cap():
    assert np.isclose(bandit.gamma(8, 4, 50), 0.1270, atol=5e-5)
    one = bandit.probabilities(np.array([10.0] + [1.0] * 7), 4, 0.127)
    two = bandit.probabilities(np.array([50.0, 40.0] + [1.0] * 6), 4, 0.127)
    assert np.allclose(one, [1] + [0.428571] * 7, atol=1e-6)
    assert np.allclose(two, [1, 1] + [1 / 3] * 6, atol=1e-6)


@pytest.mark.parametrize("arms", [2, 3, 8])
def test_probabilities_sum_to_the_plays_and_are_probabilities(arms):
    for key in range(200):
        g = rng(key, "weights")
        weights = np.exp(g.normal(size=arms) * g.choice([0.1, 1.0, 20.0]))
        weights /= weights.sum()
        share = float(g.random())
        for plays in range(1, arms):
            p = bandit.probabilities(weights, plays, share)
            assert abs(p.sum() - plays) < 1e-9 and (p >= 0).all() and (p <= 1).all()
            assert p.min() >= plays * share / arms - 1e-12, "no arm falls below the share of exploration"
        assert abs(bandit.probabilities(weights, arms, share).sum() - 1) < 1e-9


def test_equal_weights_and_full_exploration_give_equal_probabilities():
    assert np.allclose(bandit.probabilities(bandit.uniform(8), 4, 0.127), 0.5)
    assert np.allclose(bandit.probabilities(np.array([0.9, 0.05, 0.05]), 1, 1.0), 1 / 3)
    assert bandit.gamma(8, 1, 1) == 1.0 and bandit.gamma(2, 4, 50) == 0.2 and bandit.gamma(1, 1, 50) == 0.2


def test_a_draw_has_distinct_arms_with_the_given_marginals():
    p = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1])
    n, counts, generator = 4000, np.zeros(8), rng(0, "draws")
    for _ in range(n):
        arms = bandit.draw(p, 4, generator)
        assert len(set(arms)) == 4
        counts[arms] += 1
    assert (np.abs(counts / n - p) < 4 * np.sqrt(p * (1 - p) / n)).all()


def test_certain_arms_are_always_drawn_and_more_plays_than_arms_are_possible():
    for key in range(20):
        assert 0 in bandit.draw(np.array([1.0, 0.5, 0.5]), 2, rng(key))
        assert len(bandit.draw(np.array([0.5, 0.5]), 5, rng(key))) == 5
        assert bandit.draw(np.ones(1), 1, rng(key)) == [0]


@pytest.mark.parametrize("plays", [1, 2, 3, 5])
def test_every_arm_keeps_its_floor(plays):
    weights = np.array([1.0, 1e-12, 1e-12])
    floor = plays * 0.2 / 3 if plays < 3 else 0.2 / 3
    assert (bandit.probabilities(weights, plays, 0.2) >= floor - 1e-12).all()


def test_weights_stay_positive_and_sum_to_one():
    weights = bandit.uniform(4)
    for key in range(300):
        p = bandit.probabilities(weights, 2, 0.2)
        rewards = {arm: float(arm == 0) for arm in bandit.draw(p, 2, rng(key))}
        weights = bandit.updated(weights, rewards, p, 2, 0.2, 300)
        assert (weights > 0).all() and abs(weights.sum() - 1) < 1e-12


def test_arms_that_were_not_played_change_through_the_share_alone():
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    p = bandit.probabilities(weights, 1, 0.2)
    shared = bandit.updated(weights, {0: 1.0}, p, 1, 0.2, 20)
    alone = bandit.updated(weights, {0: 1.0}, p, 1, 0.2, 20, switch=0)
    assert weights[3] / weights[1] > shared[3] / shared[1] > 1
    assert np.isclose(alone[3] / alone[1], weights[3] / weights[1])


def test_without_rewards_the_share_leads_back_to_equal_weights():
    weights = start = np.array([0.85, 0.05, 0.05, 0.05])
    distances = []
    for _ in range(30):
        weights = bandit.updated(weights, {0: 0.0}, np.full(4, 0.5), 1, 0.2, 20)
        distances.append(np.abs(weights - 0.25).max())
    ratios = np.array(distances[1:]) / distances[:-1]
    assert np.allclose(ratios, ratios[0]) and ratios[0] < 1
    assert np.allclose(bandit.updated(start, {0: 0.0}, np.full(4, 0.5), 1, 0.2, 20, switch=0), start)


def test_capped_arms_keep_their_weight():
    weights = np.array([0.97, 0.01, 0.01, 0.01])
    p = bandit.probabilities(weights, 2, 0.1)
    after = bandit.updated(weights, {0: 1.0, 1: 0.0}, p, 2, 0.1, 100, switch=0)
    assert p[0] == 1 and np.allclose(after, weights)


@pytest.mark.parametrize("reward", [-0.1, 1.1, float("nan")])
def test_rewards_outside_the_unit_interval_are_refused(reward):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        bandit.updated(bandit.uniform(2), {0: reward}, np.full(2, 0.5), 1, 0.2, 10)


def test_the_best_arm_is_found_again_after_it_changed():
    hits = []
    for key in range(5):
        weights, share, generator = bandit.uniform(4), bandit.gamma(4, 2, 600), rng(key, "switch")
        for t in range(600):
            p = bandit.probabilities(weights, 2, share)
            arms = bandit.draw(p, 2, generator)
            best = 0 if t < 300 else 2
            weights = bandit.updated(weights, {arm: 0.9 if arm == best else 0.1 for arm in arms}, p, 2, share, 600)
            if t >= 525:
                hits.append(best in arms)
    assert np.mean(hits) > 0.95
