"""TV.EXP3.M: an adversarial bandit with several plays a round, whose best arm may change. Parker-Holder, Nguyen, Desai, Roberts
2021, "Tuning Mixed Input Hyperparameters on the Fly for Efficient Population Based AutoRL", arXiv:2106.15883.

    cap the weights so that no probability exceeds 1;  p_c = k ((1-γ) w'_c / Σw' + γ/C)
    draw k different arms with these marginals (DepRound)
    r̂_c = r_c / p_c  for observed arms;  w_c ← w_c exp(k γ r̂_c / C) [c not capped] + (e α / C) Σ w;  w ← w / Σ w

    paper  here        shape
    C, k   arms, plays scalar
    w      weights     (C,), sum 1
    γ, α   `gamma`, 1 / rounds

Departures from the reference code: the probabilities sum to k, the share goes to all arms and is added (not multiplied), the
cap is temporary and exact (no numerical search), and k different arms are really drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

ALL_ARMS_SHARE = 0.2  # γ if there are at least as many plays as arms: the formula does not apply (value of the reference code)


def gamma(arms: int, plays: int, rounds: int) -> float:
    """Returns the share of uniform exploration, min(1, √(C ln(C/k) / ((e-1) k T))), or 0.2 if plays ≥ arms."""
    if plays >= arms:
        return ALL_ARMS_SHARE
    return min(1.0, math.sqrt(arms * math.log(arms / plays) / ((math.e - 1) * plays * max(rounds, 1))))


def capped(weights: np.ndarray, plays: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns (w', capped arms): weights that are reduced so that no inclusion probability exceeds 1; shapes (C,), (C,) bool.

    With m arms at the cap a: a = η (m a + the rest), so a = η rest / (1 - m η), for the smallest consistent m.
    """
    arms = len(weights)
    none = np.zeros(arms, bool)
    if plays >= arms or share >= 1:
        return weights, none
    eta = (1 / plays - share / arms) / (1 - share)
    if weights.max() < eta * weights.sum():
        return weights, none
    order = np.argsort(-weights, kind="stable")
    ranked = weights[order]
    for m in range(1, plays + 1):
        rest = ranked[m:].sum()
        if 1 - m * eta <= 1e-12:
            break
        cap = eta * rest / (1 - m * eta)
        if ranked[m - 1] >= cap and (m == arms or ranked[m] < cap):
            inside = none.copy()
            inside[order[:m]] = True
            return np.where(inside, cap, weights), inside
    inside = none.copy()
    inside[order[:plays]] = True  # all plays are certain, except for rounding
    return np.where(inside, ranked[plays - 1], weights), inside


def probabilities(weights: np.ndarray, plays: int, share: float) -> np.ndarray:
    """Returns the probability of each arm to be among the plays; they sum to `plays`; shape (C,).

    If there are at least as many plays as arms, plays are drawn independently, and the probabilities of one play are returned.
    """
    arms = len(weights)
    chances: np.ndarray
    if plays >= arms:
        chances = (1 - share) * weights / weights.sum() + share / arms
        return chances
    cut, _ = capped(weights, plays, share)
    chances = np.clip(plays * ((1 - share) * cut / cut.sum() + share / arms), 0.0, 1.0)
    return chances


def draw(chances: np.ndarray, plays: int, generator: np.random.Generator) -> list[int]:
    """Returns the arms of a round: different ones with these marginals, or independent ones if there are enough plays."""
    if plays >= len(chances):
        return [int(arm) for arm in generator.choice(len(chances), plays, p=chances / chances.sum())]
    arms = dep_round(chances, generator)
    return [int(arm) for arm in generator.permutation(arms)]


def dep_round(chances: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Returns distinct arms, as many as the probabilities sum to, each with its own marginal probability."""
    p = np.array(chances, float)
    open = [index for index, value in enumerate(p) if 1e-9 < value < 1 - 1e-9]
    while len(open) > 1:
        i, j = open[0], open[1]
        up, down = min(1 - p[i], p[j]), min(p[i], 1 - p[j])
        if generator.random() * (up + down) < down:
            p[i], p[j] = p[i] + up, p[j] - up
        else:
            p[i], p[j] = p[i] - down, p[j] + down
        open = [index for index in open if 1e-9 < p[index] < 1 - 1e-9]
    return np.flatnonzero(p > 0.5)


def updated(
    weights: np.ndarray,
    rewards: Mapping[int, float],
    seen: np.ndarray,
    plays: int,
    share: float,
    rounds: int,
    switch: float = 1.0,
    observed: int | None = None,
) -> np.ndarray:
    """Returns the weights after a round; they stay positive and sum to 1; shape (C,).

    Args:
        rewards: the mean reward of each observed arm, in [0, 1].
        seen: the probability with which each arm was observed, shape (C,).
        plays: arms that were drawn.
        switch: multiplies the fixed share α = 1 / rounds; 0 assumes that the best arm never changes.
        observed: the k of the exponent, if more was observed than was drawn.

    Raises:
        ValueError: a reward is outside [0, 1].
    """
    if any(not 0 <= reward <= 1 for reward in rewards.values()):
        raise ValueError(f"rewards {dict(rewards)} are not all in [0, 1]")
    arms = len(weights)
    _, fixed = capped(weights, plays, share)
    estimate = np.zeros(arms)
    for arm, reward in rewards.items():
        estimate[arm] = reward / max(seen[arm], plays * share / arms if plays < arms else share / arms, 1e-12)
    grown = weights * np.where(fixed, 1.0, np.exp(np.minimum((observed or plays) * share * estimate / arms, 50.0)))
    grown = grown + math.e * switch / max(rounds, 1) / arms * weights.sum()
    normalised: np.ndarray = grown / grown.sum()
    return normalised


def uniform(arms: int) -> np.ndarray:
    """Returns the weights before the first reward; shape (arms,)."""
    return np.full(arms, 1 / arms)
