"""Four more toys for BG-PBT, made after its defaults were chosen, by which no default was chosen: `toys_bgpbt` runs them too.

u_i is the place of the i-th number in its range; t is the share of the run that is over. 8 members train for 24 intervals of 10
steps. `slow` and `ends` have ten numbers (uniform and log-uniform) and three categories, `own` and `decay` fifteen (whole numbers
too) and three. In `slow` and `own` the score is a θ with θ ← max(θ + 0.02 (1 - θ) v, -1/4): it saturates.

slow      v = 1 - Σ ((u_i - o_i) / w_i)² over i = 1, 4, 8, with o = (0.7 - 0.4 t, 0.35 + 0.3 t, 0.5) and w = (0.3, 0.35, 0.5), at
          least -1/5; a positive v is halved if k_1 is not "b" (from t = 0.6 on: not "d"), times 0.7 if k_2 is not "tanh".
                                                                                                  Noise 0.02
ends      score gained per step: 1 - 0.5 u_0 - 0.3 |u_5 - 1| - 0.3 |u_9 - e|, e = 1 until t = ½, then 0; times 0.75 if k_3 is not
          "y", times 0.85 if k_1 is not "c".                                                      Noise 1, oracle 1 per step
own       v = h - ½ (((u_2 - c) / 0.25)² + ((u_7 - 0.4) / 0.5)² + ((u_11 - 0.6) / 0.5)²), at least -1/5; c = 0.2, 0.5, 0.8 and
          h = 1 - 0.7 t, 0.6, 0.3 + 0.7 t for k_1 = "a", "b", "c"; times 0.6 if k_2 is not "q".   Noise 0.02
decay     a loss L, at first 1, after steps of length η = 10^(3 (u_1 - 1)):  L ← (1 - η/2)² L + η² s,  score -log10 L;
          s = 0.01 (1 + 4 (u_6 - 1)² + 2 u_9²), times 1.5 if k_3 is not "o", times 1.3 if k_2 is not "p".    Noise 0.05
"""

from __future__ import annotations

from typing import Any

import numpy as np

import poptrain as pt

STEPS = 24 * 10
TEN = pt.Space(
    {f"x{i}": pt.Uniform(-1.0, 2.0) if i % 2 else pt.LogUniform(1e-6, 1e-1) for i in range(10)},
    k1=pt.Choice("a", "b", "c", "d"),
    k2=pt.Choice("relu", "tanh"),
    k3=pt.Choice("x", "y", "z"),
)
FIFTEEN = pt.Space(
    {f"x{i}": (pt.Uniform(0.0, 1.0), pt.LogUniform(1e-5, 1.0), pt.Int(1, 32), pt.LogInt(16, 4096))[i % 4] for i in range(15)},
    k1=pt.Choice("a", "b", "c"),
    k2=pt.Choice("p", "q", "r"),
    k3=pt.Choice("m", "n", "o", "w"),
)


def place(space: pt.Space, hp: dict[str, Any], name: str) -> float:
    """Returns where a number is in its range: 0 at the lowest value, 1 at the highest."""
    p = space[name]
    code = p.encode(hp[name])
    return code if p.levels is None else (code * p.levels - 0.5) / (p.levels - 1)


def _grown(score: float, speed: float) -> float:
    return max(score + 0.02 * (1 - score) * speed, -0.25)


def slow(score: float, hp: dict[str, Any], t: float) -> float:
    away = [(place(TEN, hp, f"x{i}") - o) / w for i, o, w in ((1, 0.7 - 0.4 * t, 0.3), (4, 0.35 + 0.3 * t, 0.35), (8, 0.5, 0.5))]
    speed = max(1 - sum(d**2 for d in away), -0.2)
    if speed > 0:
        speed *= (1.0 if hp["k1"] == ("b" if t < 0.6 else "d") else 0.5) * (1.0 if hp["k2"] == "tanh" else 0.7)
    return _grown(score, speed)


def ends(score: float, hp: dict[str, Any], t: float) -> float:
    away = sum(w * abs(place(TEN, hp, f"x{i}") - e) for i, e, w in ((0, 0, 0.5), (5, 1, 0.3), (9, float(t < 0.5), 0.3)))
    return score + (1 - away) * (1.0 if hp["k3"] == "y" else 0.75) * (1.0 if hp["k1"] == "c" else 0.85)


def heights(t: float) -> dict[str, float]:
    """Returns h of the three options of k_1 in `own`."""
    return {"a": 1 - 0.7 * t, "b": 0.6, "c": 0.3 + 0.7 * t}


def own(score: float, hp: dict[str, Any], t: float) -> float:
    centre = {"a": 0.2, "b": 0.5, "c": 0.8}[hp["k1"]]
    away = sum(((place(FIFTEEN, hp, f"x{i}") - c) / w) ** 2 for i, c, w in ((2, centre, 0.25), (7, 0.4, 0.5), (11, 0.6, 0.5)))
    return _grown(score, max(heights(t)[hp["k1"]] - 0.5 * away, -0.2) * (1.0 if hp["k2"] == "q" else 0.6))


def decay(score: float, hp: dict[str, Any], t: float) -> float:
    length = 10 ** (3 * (place(FIFTEEN, hp, "x1") - 1))
    floor = 0.01 * (1 + 4 * (place(FIFTEEN, hp, "x6") - 1) ** 2 + 2 * place(FIFTEEN, hp, "x9") ** 2)
    floor *= (1.0 if hp["k3"] == "o" else 1.5) * (1.0 if hp["k2"] == "p" else 1.3)
    return -float(np.log10((1 - 0.5 * length) ** 2 * 10**-score + length**2 * floor))


def best_slow() -> float:
    """Returns the score of `slow` with v = 1 at every step."""
    return 1 - 0.98**STEPS


def best_own() -> float:
    """Returns the score of `own` with the best option and its optimum at every step."""
    left = 1.0
    for step in range(STEPS):
        left *= 1 - 0.02 * max(heights(step / STEPS).values())
    return 1 - left


def best_decay() -> float:
    """Returns the score of `decay` with s = 0.01 and the η at every step that leaves the smallest loss."""
    loss = 1.0
    for _ in range(STEPS):
        length = min(loss / (0.5 * loss + 0.02), 1.0)
        loss = (1 - 0.5 * length) ** 2 * loss + length**2 * 0.01
    return -float(np.log10(loss))
