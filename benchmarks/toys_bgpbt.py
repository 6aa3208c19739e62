"""BG-PBT, PB2-Mix and random search on toys with many hyperparameters that drift, most of which do not matter.

    nohup nice python -m benchmarks.toys_bgpbt --json &      # 25 minutes on one core; continues where it stopped
    python -m benchmarks.toys_bgpbt --report --json          # the figures of the stored runs alone

The first three toys have the same space: 12 numbers (uniform, log-uniform, whole numbers and ordinals) and three categories.
u_i is the place of the i-th number in its range, from 0 to 1 (of whole numbers and ordinals: of its level); t is the share of
the run that is over. 8 members train for 25 intervals of 10 steps. Every score that an algorithm sees has normal noise. The
result of a run is the score of its best checkpoint without noise, as a share of the oracle's: the score under the best values
at every step.

inside    score gained per step: Π exp(-½ ((u_i - o_i(t)) / 0.25)²) over i = 1, 4, 7, 10, with o_i(t) = ½ + 0.2 sin(2π t + i);
          halved if c_1 is not "a" (from t = ½ on: not "c"), and halved if c_2 is not "y".      Noise 0.5, oracle 1 per step
corner    score gained per step: 1 - Σ w_i(t) |u_i - e_i| over i = 2, 5, 8, 11, with e = (0, 1, 1, 0),
          w_2 = w_5 = 0.4 (1 - t) + 0.05 and w_8 = w_11 = 0.4 t + 0.05; times 0.7 if c_2 is not "x".
                                                                                                  Noise 0.5, oracle 1 per step
descent   a loss L, at first 1, after noisy gradient steps of length η:  L ← (1 - η)² L + η² s,  score -log10 L.
          η = 10^(2 (u_3 - 1)) / k with k = 1, 3, 10 for c_1 = "a", "b", "c": the best u_3 falls with L, and depends on c_1;
          s = 0.02 exp(6 (u_6 - 0.3)²) (1 + 3 |u_9 - 1|), doubled if c_3 is not "q".
          The oracle has s = 0.02 and η = L / (L + s) at every step.                               Noise 0.05

Four more toys (`toys_bgpbt_fresh`) were made after the defaults had been chosen, and have chosen nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import poptrain as pt
from benchmarks import toys_bgpbt_fresh as fresh
from benchmarks.common import figure
from benchmarks.study import Cell, Study, iqm, main
from poptrain.core.rng import rng
from poptrain.statistics import sign_test

MEMBERS, ROUNDS, INTERVAL, SEEDS = 8, 25, 10, 20
STEPS = ROUNDS * INTERVAL
KINDS: tuple[Callable[[], Any], ...] = (
    lambda: pt.Uniform(0.0, 1.0),
    lambda: pt.LogUniform(1e-5, 1e-1),
    lambda: pt.Uniform(-2.0, 3.0),
    lambda: pt.Int(1, 16),
    lambda: pt.LogUniform(1e-3, 1.0),
    lambda: pt.Ordinal(*range(10, 22)),
)
SPACE = pt.Space(
    {f"u{i}": KINDS[(i - 1) % 6]() for i in range(1, 13)},
    c1=pt.Choice("a", "b", "c"),
    c2=pt.Choice("w", "x", "y", "z"),
    c3=pt.Choice("p", "q"),
)
METHODS: dict[str, Callable[..., Any]] = {"random": pt.random_search, "pb2_mix": pt.pb2_mix, "bg_pbt": pt.bg_pbt}


def place(hp: dict[str, Any], i: int) -> float:
    """Returns u_i: 0 at the lowest value of the range, 1 at the highest."""
    return fresh.place(SPACE, hp, f"u{i}")


# -- the toys: each returns the score after one more step -----------------------------------------------------------------


def inside(score: float, hp: dict[str, Any], t: float) -> float:
    gain = 1.0
    for i in (1, 4, 7, 10):
        gain *= float(np.exp(-0.5 * ((place(hp, i) - 0.5 - 0.2 * np.sin(2 * np.pi * t + i)) / 0.25) ** 2))
    gain *= 1.0 if hp["c1"] == ("a" if t < 0.5 else "c") else 0.5
    return score + gain * (1.0 if hp["c2"] == "y" else 0.5)


def corner(score: float, hp: dict[str, Any], t: float) -> float:
    early, late = 0.4 * (1 - t) + 0.05, 0.4 * t + 0.05
    away = sum(w * abs(place(hp, i) - e) for i, e, w in ((2, 0, early), (5, 1, early), (8, 1, late), (11, 0, late)))
    return score + (1 - away) * (1.0 if hp["c2"] == "x" else 0.7)


def descent(score: float, hp: dict[str, Any], t: float) -> float:
    length = 10 ** (2 * (place(hp, 3) - 1)) / {"a": 1, "b": 3, "c": 10}[hp["c1"]]
    s = 0.02 * np.exp(6 * (place(hp, 6) - 0.3) ** 2) * (1 + 3 * abs(place(hp, 9) - 1)) * (1 if hp["c3"] == "q" else 2)
    return -float(np.log10((1 - length) ** 2 * 10**-score + length**2 * s))


class Toy(NamedTuple):
    step: Callable[[float, dict[str, Any], float], float]
    oracle: float  # the score at the end of the best schedule
    noise: float  # standard deviation
    space: pt.Space = SPACE
    steps: int = STEPS


def best_descent() -> float:
    """Returns the oracle's score: with η = L / (L + s), 1/L grows by 1/s in every step."""
    return float(np.log10(1 + STEPS / 0.02))


TOYS = {
    "inside": Toy(inside, STEPS, 0.5),
    "corner": Toy(corner, STEPS, 0.5),
    "descent": Toy(descent, best_descent(), 0.05),
    "slow": Toy(fresh.slow, fresh.best_slow(), 0.02, fresh.TEN, fresh.STEPS),
    "ends": Toy(fresh.ends, fresh.STEPS, 1.0, fresh.TEN, fresh.STEPS),
    "own": Toy(fresh.own, fresh.best_own(), 0.02, fresh.FIFTEEN, fresh.STEPS),
    "decay": Toy(fresh.decay, fresh.best_decay(), 0.05, fresh.FIFTEEN, fresh.STEPS),
}


def trainable(toy: Toy) -> Callable[..., Any]:
    """Returns the toy as a train function; its carry is (score without noise, steps so far)."""

    def train(carry: Any, hp: dict[str, Any], steps: int, seed: int) -> tuple[Any, dict[str, float]]:
        score, done = (0.0, 0) if carry is None else carry
        for step in range(steps):
            score = toy.step(score, hp, (done + step) / toy.steps)
        return (float(score), done + steps), {"score": float(score + toy.noise * rng(seed, "score").normal())}

    return train


# -- the study --------------------------------------------------------------------------------------------------------------


def cells(seeds: int) -> list[Cell]:
    """Returns every method on every toy."""
    shared: dict[str, Any] = dict(population=MEMBERS, interval=INTERVAL)
    return [
        Cell(f"{name}-{method}", make(toy.space, **shared), seeds)
        for name, toy in TOYS.items()
        for method, make in METHODS.items()
    ]


def start(cell: Cell, seed: int, directory: Path) -> pt.Run:
    """Trains one run; it takes seconds, so it leaves no directory."""
    toy = TOYS[cell.name.split("-")[0]]
    return pt.run(cell.algorithm, trainable(toy), stop=pt.steps(toy.steps), seed=seed)


def start_short(cell: Cell, seed: int, directory: Path) -> pt.Run:
    """Trains the first five intervals of a run."""
    return pt.run(cell.algorithm, trainable(TOYS[cell.name.split("-")[0]]), stop=pt.steps(5 * INTERVAL), seed=seed)


def judge(run: pt.Run, seed: int) -> dict[str, Any]:
    """Returns the score of the best checkpoint, without noise."""
    return {"reported": float(run.best.load()[0])}


def figures(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Returns shares of the oracle's score, and one-sided paired tests: by ranks (Wilcoxon), and by signs."""
    from scipy.stats import wilcoxon

    out = []
    for toy, (_, oracle, *_) in TOYS.items():
        shares: dict[str, dict[int, float]] = {}
        for name in METHODS:
            runs = found.get(f"{toy}-{name}", [])
            shares[name] = {kept["seed"]: kept["reported"] / oracle for kept in runs}
            if values := list(shares[name].values()):
                spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
                out.append(figure(f"{toy}: {name}, share of the oracle's score", iqm(values), "", n=len(values), spread=spread))
        for better, worse in (("bg_pbt", "pb2_mix"), ("pb2_mix", "random")):
            seeds = sorted(shares[better].keys() & shares[worse].keys())
            differences = np.array([shares[better][seed] - shares[worse][seed] for seed in seeds])
            if len(seeds) > 1:
                p = float(wilcoxon(differences, alternative="greater").pvalue) if differences.any() else 1.0
                enough = p < 0.01 and len(seeds) >= SEEDS
                out.append(
                    figure(f"{toy}: {better} > {worse}, paired by seed", p, "p", f"< 0.01, {SEEDS} seeds", enough, len(seeds))
                )
                wins = int((differences > 0).sum())
                sign = sign_test(wins, int((differences < 0).sum()))
                out.append(
                    figure(f"{toy}: seeds in which {better} > {worse} (sign test: p = {sign:.2g})", wins, "seeds", n=len(seeds))
                )
    return out


if __name__ == "__main__":
    print(__doc__)
    main(
        Study("toys_bgpbt", cells(SEEDS), start, judge, figures, summary=lambda run: {}, compact=True),
        Study("toys_bgpbt", cells(1), start_short, judge, figures, summary=lambda run: {}, compact=True),
        __doc__.splitlines()[0],
    )
