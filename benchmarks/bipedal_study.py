"""The study of the PB2 blog post (Anyscale, 2020) on BipedalWalker-v3: random search, PBT and PB2, one machine.

    nohup nice python -m benchmarks.bipedal_study &          # about 2.5 hours on 2 cores; continues where it stopped
    python -m benchmarks.bipedal_study --report --plot --json

1,000,000 steps per member, an interval of 50,000; populations of 4 (10 seeds) and 8 (5 seeds); and batches from [5000, 200000]
instead of [1000, 60000] at 4 (5 seeds); all three methods as the blog configured them. With the defaults of this library, PBT and
PB2 run at 4 as well (10 seeds). The reported return of a run is that of its best checkpoint: the mean of 100 episodes of the
deterministic policy on seeds that were never used for training. The blog's claims: PB2 is ahead of PBT at 4 and at 8; it is
robust to the wide range where PBT is not; about 270 against 220 at 4.

Members of random search are independent, so its five runs of 8 are its ten runs of 4 taken in pairs: the better checkpoint of
the two by the training score, which is what selection uses. No figure compares these two cells with each other.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import poptrain as pt
from benchmarks.common import figure
from benchmarks.study import Cell, Study, averages, differences, iqm, main, scores
from examples.bipedal_walker import agent, space
from poptrain.statistics import apart

WIDE = pt.Space({**space, "train_batch_size": pt.Int(5_000, 200_000)})
STEPS, INTERVAL, EPISODES, EARLY = 1_000_000, 50_000, 100, 400_000


def algorithms(ranges: pt.Space, population: int, every: int) -> dict[str, Any]:
    """Returns the three methods as the blog configured them: a quarter is replaced, factors 0.8 and 1.2, redraws of 0.25."""
    shared: dict[str, Any] = dict(population=population, interval=every)
    return {
        "random": pt.random_search(ranges, **shared),
        "pbt": pt.pbt(
            ranges, **shared, exploit=pt.truncation(0.25), explore=pt.perturb((0.8, 1.2), resample=0.25), starts="random"
        ),
        "pb2": pt.pb2(ranges, **shared, exploit=pt.truncation(0.25), as_in="paper"),
    }


def cells(every: int = INTERVAL) -> list[Cell]:
    """Returns every method in every setting with its number of seeds."""
    planned = [Cell(f"{name}-4", algorithm, 10) for name, algorithm in algorithms(space, 4, every).items()]
    eight = algorithms(space, 8, every)
    planned += [Cell(f"{name}-8", eight[name], 5) for name in ("pbt", "pb2")]
    wide = algorithms(WIDE, 4, every)
    planned += [Cell(f"{name}-4-wide", wide[name], 5) for name in ("pbt", "pb2")]
    usual: dict[str, Any] = {"pbt": pt.pbt, "pb2": pt.pb2}
    return planned + [Cell(f"{name}-4-default", make(space, population=4, interval=every), 10) for name, make in usual.items()]


def starter(steps: int, policy: Any) -> Any:
    """Returns how a run of this study is trained."""

    def start(cell: Cell, seed: int, directory: Path) -> pt.Run:
        return pt.run(cell.algorithm, policy, stop=pt.steps(steps), executor="vectorized", directory=directory, seed=seed)

    return start


def judged(episodes: int, policy: Any) -> Any:
    """Returns how a finished run is judged."""

    def judge(run: pt.Run, seed: int) -> dict[str, Any]:
        returns = policy.evaluate(run.best.load(), episodes=episodes, seed=seed)
        return {"reported": float(returns.mean()), "reported_sd": float(returns.std()), "training": float(run.best.score)}

    return judge


def pairs(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Returns random search with 8 members, from pairs of seeds of random search with 4."""
    four = {kept["seed"]: kept for kept in found.get("random-4", ())}
    couples = [(four[seed], four[seed + 1]) for seed in four if not seed % 2 and seed + 1 in four]
    return {"random-8": [_together(*couple) for couple in couples]}


def _together(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    best = max(a, b, key=lambda kept: kept["training"])
    curve = [[step, max(one, other)] for (step, one), (_, other) in zip(a["curve"], b["curve"], strict=True)]
    return {**best, "cell": "random-8", "seed": a["seed"] // 2, "curve": curve, "seconds": a["seconds"] + b["seconds"]}


CLAIMS = (
    ("PB2 ahead of PBT at 4", "pb2-4", "pbt-4"),
    ("PB2 ahead of PBT at 8", "pb2-8", "pbt-8"),
    ("PB2 ahead of PBT at 4, wide range", "pb2-4-wide", "pbt-4-wide"),
    ("PB2 ahead of random search at 4", "pb2-4", "random-4"),
    ("PBT ahead of random search at 4", "pbt-4", "random-4"),
    ("PB2 ahead of random search at 8", "pb2-8", "random-8"),
    ("PBT ahead of random search at 8", "pbt-8", "random-8"),
    ("PBT by default ahead of random search at 4", "pbt-4-default", "random-4"),
    ("PB2 by default ahead of random search at 4", "pb2-4-default", "random-4"),
    ("PBT by default ahead of the blog's at 4", "pbt-4-default", "pbt-4"),
    ("PB2 by default ahead of the blog's at 4", "pb2-4-default", "pb2-4"),
    ("PB2 ahead of PBT at 4, both by default", "pb2-4-default", "pbt-4-default"),
)


def figures(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Returns the interquartile means, and whether each of the blog's claims holds here."""
    out = averages(found, "return", "return") + differences(found, CLAIMS, "return")
    for method in ("pb2", "pbt"):
        a, b = scores(found, f"{method}-4"), scores(found, f"{method}-4-wide")
        if a and b:
            out.append(figure(f"{method}: what the wide range costs", iqm(a) - iqm(b), "return", n=min(len(a), len(b))))
    for a, b in (("pb2-4", "pbt-4"), ("pb2-8", "pbt-8"), ("pb2-4-wide", "pbt-4-wide")):
        early = [[_by(kept, EARLY) for kept in found.get(cell, ())] for cell in (a, b)]
        if all(early):
            name = (
                f"{a} over {b}: best training score by step {EARLY:,} (looked at afterwards), two-sided p = {apart(*early):.3g}"
            )
            out.append(figure(name, iqm(early[0]) - iqm(early[1]), "return", n=min(map(len, early))))
    predicted = [pair for name, runs in found.items() if name.startswith("pb2") for kept in runs for pair in kept["predictions"]]
    if len(predicted) > 2:
        gain, _, came = np.array(predicted).T
        out.append(figure("PB2: rank correlation of predicted and realised gains", _rank_correlation(gain, came), n=len(gain)))
    return out


def _by(kept: dict[str, Any], step: int) -> float:
    return max(score for at, score in kept["curve"] if at <= step)


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


def study(steps: int, every: int, episodes: int, policy: Any, planned: list[Cell]) -> Study:
    """Returns the study at some size."""
    return Study("bipedal_study", planned, starter(steps, policy), judged(episodes, policy), figures, derived=pairs)


TINY = [Cell("pb2-4", algorithms(pt.Space({**space, "train_batch_size": pt.Int(500, 2_000)}), 4, 2_000)["pb2"], 1),
        Cell("pbt-4", algorithms(pt.Space({**space, "train_batch_size": pt.Int(500, 2_000)}), 4, 2_000)["pbt"], 1)]  # fmt: skip

if __name__ == "__main__":
    main(
        study(STEPS, INTERVAL, EPISODES, agent, cells()),
        study(6_000, 2_000, 4, replace(agent, num_envs=4, epochs=1), TINY),
        __doc__.splitlines()[0],
    )
