"""FIRE PBT against PBT on a noisy quadratic, where a greedy decay of the learning rate is provably wrong.

    python -m benchmarks.fire_nqm [--quick] --json

Mean-field SGD: m ← (1 - ηλ)² m + η²c for 16 curvatures λ between 1 and 1/300, gradient noise c = 0.1 λ, loss L = ½ Σ λm,
Q = -log10 L. Everything is deterministic. A lower η is better at once when the steep directions are at their noise floor, but
slows down the flat ones: the greedy schedule ends at 2.112, the best constant at 2.43, slow decay at 3.52.
PBT22 and FIRE22 have 22 workers each: 22 members, and 2 × 8 members with 6 evaluators. Workers are evaluated 12 times a round.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import poptrain as pt
from benchmarks.common import figure, main, over

LAMBDA = np.logspace(0, -np.log10(300), 16)
NOISE = 0.1 * LAMBDA
BUDGET, READY, EVALS = 6000, 120, 12
SPACE = pt.Space(lr=pt.LogUniform(1e-6, 1.0, init=(1e-3, 1.0)))
SETTINGS: dict[str, Any] = dict(
    interval=READY, exploit=pt.truncation(0.25), explore=pt.perturb((0.5, 0.8, 1.25, 2.0), resample=0)
)

# -- the problem ------------------------------------------------------------------------------------------------------


def advanced(m: np.ndarray, lr: Any, steps: int) -> np.ndarray:
    """Returns m after `steps` steps, in closed form: aᵏ m + b (1 - aᵏ) / (1 - a)."""
    lr = np.asarray(lr, float)[..., None]
    a = (1 - lr * LAMBDA) ** 2
    power = a**steps
    return power * m + lr**2 * NOISE * (1 - power) / (1 - a)


def quality(m: np.ndarray) -> Any:
    """Returns Q = -log10 of the loss."""
    return -np.log10(0.5 * (m @ LAMBDA))


def train(carry: Any, hp: dict[str, float], steps: int, seed: int) -> tuple[Any, dict[str, float]]:
    """SGD on the quadratic, from m = 1."""
    m = advanced(np.ones(16) if carry is None else carry, hp["lr"], steps)
    return m, {"score": float(quality(m))}


def best_constant() -> float:
    """Returns the final Q of the best constant learning rate on a grid of 2001."""
    return float(quality(advanced(np.ones(16), np.logspace(-4, 0, 2001), BUDGET)).max())


def greedy() -> float:
    """Returns the final Q if every round took the rate that is best at its end, of 201 from 1e-5 to 1."""
    m, rates = np.ones(16), np.logspace(-5, 0, 201)
    for _ in range(BUDGET // READY):
        after = advanced(m, rates, READY)
        m = after[np.argmax(quality(after))]
    return float(quality(m))


def replayed(schedule: Any) -> float:
    """Returns the Q of a fresh model trained by a schedule, one step at a time."""
    m = np.ones(16)
    for segment in schedule.segments:
        lr = segment.hparams["lr"]
        for _ in range(segment.start, segment.end):
            m = (1 - lr * LAMBDA) ** 2 * m + lr**2 * NOISE
    return float(quality(m))


# -- the methods ------------------------------------------------------------------------------------------------------


def methods() -> dict[str, Any]:
    """Returns the algorithms by name; the number is that of the workers. All but the last have the forms of their papers."""
    fire: dict[str, Any] = dict(evals=EVALS, max_eval=360, as_in="paper", **SETTINGS)
    return {
        "random search 22": pt.random_search(SPACE, population=22, interval=READY),
        "PBT22": pt.pbt(SPACE, population=22, starts="random", **SETTINGS),
        "PBT50": pt.pbt(SPACE, population=50, starts="random", **SETTINGS),
        "FIRE22": pt.fire_pbt(SPACE, (8, 8), **fire),
        "FIRE22 after 2 rounds": pt.fire_pbt(SPACE, (8, 8), warmup=2 * READY, **fire),
        "FIRE36": pt.fire_pbt(SPACE, (8, 8, 8), **fire),
        "FIRE50": pt.fire_pbt(SPACE, (8, 8, 8, 8), **fire),
        "FIRE22, default rules": pt.fire_pbt(SPACE, (8, 8), **fire | {"as_in": None}),
    }


def trained(algorithm: Any, seed: int) -> dict[str, Any]:
    """Returns what is measured in one run: best Q of the greedy members, replay, rates and hand-overs, seconds."""
    began = time.perf_counter()
    run = pt.run(algorithm, train, stop=pt.steps(BUDGET), seed=seed)
    seconds = time.perf_counter() - began
    history, members = run.history, getattr(algorithm, "population", 0)
    greedy_members = getattr(algorithm, "subpopulations", (members,))[0]
    ids = [id for id in range(history.n) if history.task(id).member < greedy_members and history.ok(id)]
    best = max(ids, key=history.score)
    schedule = run.schedule(best)
    handed = [id for id in range(history.n) if history.task(id).member < members and _donor(history, id) >= members]
    return {
        "Q": history.score(best),
        "error": abs(replayed(schedule) - history.score(best)),
        "lr": [schedule.at(int(share * BUDGET) - 1)["lr"] for share in (0.1, 0.25, 0.5, 0.75, 1.0)],
        "hand-overs": len(handed),
        "seconds": seconds,
    }


def _donor(history: pt.History, id: int) -> int:
    parent = history.task(id).parent
    return -1 if parent is None else history.task(parent).member


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures."""
    constant, myopic = best_constant(), greedy()
    figures = [
        figure("best constant learning rate", constant, "Q", "2.43 ± 0.005", abs(constant - 2.43) < 5e-3),
        figure("greedy schedule", myopic, "Q", "2.112 ± 0.001", abs(myopic - 2.112) < 1e-3),
    ]
    counts = (
        {"PBT22": 20, "FIRE22": 20, "PBT50": 2, "FIRE36": 2, "FIRE50": 2, "random search 22": 2, "FIRE22 after 2 rounds": 2}
        if quick
        else {}
    )
    runs = {name: [trained(algorithm, seed) for seed in range(counts.get(name, 60))] for name, algorithm in methods().items()}
    for name, found in runs.items():
        figures.append(over(f"{name}: best Q, mean", [run["Q"] for run in found], "Q"))
    median = {name: float(np.median([run["Q"] for run in found])) for name, found in runs.items()}
    for name in ("FIRE22", "FIRE22 after 2 rounds"):
        worst = min(run["Q"] for run in runs[name])
        figures.append(figure(f"{name}: best Q, worst seed", worst, "Q", n=len(runs[name])))
    n = len(runs["FIRE22"])
    figures.append(figure("PBT22: best Q, median", median["PBT22"], "Q", "<= 2.80", median["PBT22"] <= 2.80, n))
    figures.append(figure("FIRE22: best Q, median", median["FIRE22"], "Q", ">= 3.0", median["FIRE22"] >= 3.0, n))
    gap = median["FIRE22"] - median["PBT22"]
    figures.append(figure("FIRE22 - PBT22, medians", gap, "Q", ">= 0.3", gap >= 0.3, n))
    ahead = float(np.mean([fire["Q"] > pbt["Q"] for fire, pbt in zip(runs["FIRE22"], runs["PBT22"], strict=True)]))
    figures.append(figure("FIRE22 ahead of PBT22 on the same seed", ahead, "of seeds", ">= 0.9", ahead >= 0.9, n))
    error = max(run["error"] for found in runs.values() for run in found)
    total = sum(map(len, runs.values()))
    figures.append(figure("replay of the best schedule: largest error", error, "Q", "< 1e-9", error < 1e-9, total))
    rates = {name: np.exp(np.mean(np.log([run["lr"] for run in runs[name]]), axis=0)) for name in ("PBT22", "FIRE22")}
    for index, share in enumerate((10, 25, 50, 75, 100)):
        for name in rates:
            figures.append(figure(f"{name}: learning rate of the best at {share} %", rates[name][index], "geometric mean", n=n))
    ratio = rates["FIRE22"][1] / rates["PBT22"][1]
    figures.append(figure("learning rate at 25 %, FIRE22 over PBT22", ratio, "", ">= 3", ratio >= 3, n))
    figures.append(over("FIRE22: hand-overs", [run["hand-overs"] for run in runs["FIRE22"]], "per run"))
    seconds = float(np.median([run["seconds"] for run in runs["FIRE22"]]))
    figures.append(figure("FIRE22: 22 workers × 50 rounds, median", seconds, "s", "<= 2", seconds <= 2, n))
    return figures


if __name__ == "__main__":
    main("fire_nqm", measure, __doc__.splitlines()[0])
