"""PB2 and PB2-Mix on problems with known answers.

    python -m benchmarks.toys_pb2 [--quick] --json

* `plain`, `deceptive`: the toys of `benchmarks/toys_path.py`; better models are greedier, so PB2 wins on the first and
  loses on the second.
* `drifting bandit`: f_{t+1} = √(1-ε) f_t + √ε g on 64 points, one noisy observation per round; regret of GP-UCB with the
  forgetting kernel at the given ε and without forgetting.
* `switching bandit`: four categories, two plays a round, the best changes half-way; how often it is among the plays at the end.
* `mixed`: the category says where the optimum of x lies; PB2-Mix and PB2-Mult against PB2 with random categories.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import binomtest

import poptrain as pt
from benchmarks.common import figure, main, over
from benchmarks.toys_path import DECAY, READY, better, decayed, deceptive, methods, plain
from poptrain.algorithms import bandit
from poptrain.algorithms.gp.kernels import gaps, squared_distances
from poptrain.algorithms.gp.mixed import forgetting
from poptrain.algorithms.gp.posterior import one_thread
from poptrain.algorithms.pb2 import beta_of
from poptrain.core.rng import rng

# -- the path-dependent toys ------------------------------------------------------------------------------------------


def toys(seeds: int, fewer: int) -> list[dict[str, Any]]:
    """Returns final scores on both toys (`fewer` seeds of the deceptive one), and the tests on the plain one."""
    compared = {**methods(), "PB2": pt.pb2(DECAY, population=8, interval=READY)}
    figures = []
    for label, toy in (("plain", plain), ("deceptive", deceptive)):
        number = seeds if label == "plain" else fewer
        found = {name: [decayed(algorithm, toy, seed) for seed in range(number)] for name, algorithm in compared.items()}
        figures += [over(f"{label}: {name}", values, "Q") for name, values in found.items()]
        if label == "plain":
            figures[-1].update(target=">= 1.1995", holds=bool(np.mean(found["PB2"]) >= 1.1995))
            for one, other, bound in (("PB2", "PBT", 0.05), ("PBT", "random search", 0.01)):
                p, limit = better(found[one], found[other]), max(bound, 1.01 / 2**seeds)
                figures.append(figure(f"plain: {one} > {other}, paired by seed", p, "p", f"< {limit:.3g}", p < limit, seeds))
    return figures


# -- the drifting bandit ----------------------------------------------------------------------------------------------

GRID, LENGTH, NOISE = 64, 0.2, 0.1


def regret(drift: float, assumed: float | None, rounds: int, seed: int) -> float:
    """Returns the mean regret of GP-UCB that assumes ε = `assumed` (None: a kernel without time) while the function drifts with
    ε = `drift`."""
    x = np.linspace(0, 1, GRID)[:, None]
    k = np.exp(-0.5 * squared_distances(x / LENGTH, x / LENGTH))
    root = np.linalg.cholesky(k + 1e-8 * np.eye(GRID))
    world = rng(seed, "world", repr(drift))
    f = root @ world.normal(size=GRID)
    chosen: list[int] = []
    seen: list[float] = []
    total = 0.0
    for t in range(rounds):
        if t:
            f = np.sqrt(1 - drift) * f + np.sqrt(drift) * (root @ world.normal(size=GRID))
        recent = slice(max(0, t - 200), t)
        at, times = np.array(chosen[recent], int), np.arange(t)[recent].astype(float)
        score = np.sqrt(beta_of("pb2", max(t, 3))) * np.ones(GRID)
        if t:
            kernel, cross = k[np.ix_(at, at)], k[:, at]
            if assumed is not None:
                kernel, cross = kernel * forgetting(assumed, gaps(times, times)), cross * forgetting(assumed, t - times)[None]
            factor = cho_factor(kernel + NOISE**2 * np.eye(len(at)))
            sd = np.sqrt(np.maximum(1 - np.einsum("ij,ji->i", cross, cho_solve(factor, cross.T)), 1e-12))
            score = cross @ cho_solve(factor, np.array(seen[recent])) + np.sqrt(beta_of("pb2", t + 3)) * sd
        pick = int(np.argmax(score + 1e-9 * rng(seed, "tie", t).random(GRID)))
        chosen.append(pick)
        seen.append(float(f[pick] + NOISE * world.normal()))
        total += float(f.max() - f[pick])
    return total / rounds


def drifting(seeds: int, rounds: int) -> list[dict[str, Any]]:
    """Returns the regrets of forgetting and of remembering everything."""
    figures = []
    for drift in (0.0, 0.01, 0.1, 0.5):
        varying = [regret(drift, drift, rounds, seed) for seed in range(seeds)]
        static = [regret(drift, None, rounds, seed) for seed in range(seeds)]
        target, holds = ("<= remembering", np.mean(varying) <= np.mean(static)) if drift else ("= remembering", varying == static)
        figures.append(over(f"drifting bandit, ε = {drift:g}: regret, forgetting", varying, "", target, bool(holds)))
        figures.append(over(f"drifting bandit, ε = {drift:g}: regret, remembering", static))
    return figures


# -- the switching bandit ---------------------------------------------------------------------------------------------


def switching(seed: int, share: float, rounds: int = 600, arms: int = 4, plays: int = 2) -> float:
    """Returns how often the best arm is among the plays of the last eighth of the rounds; `share` 0 leaves α out."""
    weights, exploration, hits = bandit.uniform(arms), bandit.gamma(arms, plays, rounds), []
    generator = rng(seed, "switching")
    for t in range(rounds):
        chances = bandit.probabilities(weights, plays, exploration)
        drawn = bandit.draw(chances, plays, generator)
        best = 0 if t < rounds // 2 else 2
        rewards = {arm: float(generator.random() < (0.9 if arm == best else 0.1)) for arm in drawn}
        weights = bandit.updated(weights, rewards, chances, plays, exploration, rounds, share)
        if t >= rounds - rounds // 8:
            hits.append(best in drawn)
    return float(np.mean(hits))


# -- the mixed toy ----------------------------------------------------------------------------------------------------

PLACES = {"left": 0.15, "middle": 0.5, "right": 0.85, "nowhere": None}
HEIGHTS = {"left": 0.7, "middle": 0.8, "right": 1.0, "nowhere": 0.1}
MIXED = pt.Space(x=pt.Uniform(0.0, 1.0), kind=pt.Choice(*PLACES))


def mixed(carry: Any, hp: dict[str, Any], steps: int, seed: int) -> tuple[Any, dict[str, float]]:
    """A step gains what the category allows, less the squared distance to its optimum of x; noise of sd 0.1 a report."""
    total = 0.0 if carry is None else carry
    place = PLACES[hp["kind"]]
    total += steps * (HEIGHTS[hp["kind"]] - (4 * (hp["x"] - place) ** 2 if place is not None else 0.0))
    return total, {"score": total + 0.1 * float(rng(seed, "noise").normal()), "true": total}


def mixed_final(algorithm: Any, seed: int) -> float:
    """Returns the noiseless final value of the best member after 20 intervals."""
    run = pt.run(algorithm, mixed, stop=pt.steps(20), seed=seed)
    return run.history.result(run.final_best.task.id).metrics["true"]


def mixed_toy(seeds: int) -> list[dict[str, Any]]:
    """Returns final values of all methods and the paired sign tests against random categories."""
    compared = {
        "PBT": pt.pbt(MIXED, population=4, interval=1, exploit=pt.truncation(0.25)),
        "PB2, random categories": pt.pb2(MIXED, population=4, interval=1),
        "PB2-Mult": pt.pb2_mult(MIXED, population=4, interval=1),
        "PB2-Mix": pt.pb2_mix(MIXED, population=4, interval=1),
    }
    found = {name: np.array([mixed_final(algorithm, seed) for seed in range(seeds)]) for name, algorithm in compared.items()}
    figures = [over(f"mixed: {name}", list(values)) for name, values in found.items()]
    for name in ("PB2-Mult", "PB2-Mix"):
        wins, ties = (found[name] > found["PB2, random categories"]), found[name] == found["PB2, random categories"]
        count = int((~ties).sum())
        p = float(binomtest(int(wins.sum()), count, alternative="greater").pvalue) if count else 1.0
        holds = p < 0.05 if name == "PB2-Mix" else None
        label = f"mixed: {name} > random categories in {int(wins.sum())} of {count}, sign test"
        figures.append(figure(label, p, "p", "< 0.05" if holds is not None else "", holds, seeds))
    return figures


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures."""
    figures = toys(5, 2) if quick else toys(20, 20)
    with one_thread():
        figures += drifting(3 if quick else 20, 120 if quick else 300)
    with_share = [switching(seed, 1.0) for seed in range(5 if quick else 20)]
    without = [switching(seed, 0.0) for seed in range(5 if quick else 20)]
    mean = float(np.mean(with_share))
    figures.append(over("switching bandit: best arm in the last eighth", with_share, "", ">= 0.95", mean >= 0.95))
    figures.append(over("switching bandit: without the share", without, "", "", None))
    return figures + mixed_toy(20)


if __name__ == "__main__":
    main("toys_pb2", measure, __doc__.splitlines()[0])
