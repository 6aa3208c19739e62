"""The cross-entropy method with a diagonal covariance, as CEM-RL uses it (arXiv 1810.01222, section 3.1), in numpy.

A search is ``{"mean": (D,), "variance": (D,), "damping": ()}``. `ask` draws a population in antithetic pairs, and `tell` fits the
search to its better half. The damping, which is added to the variance, shrinks from generation to generation.
"""

from __future__ import annotations

import numpy as np

from poptrain.rl.trees import Parts

LARGEST_VARIANCE = 1e-2  # thousands of gradient steps may move a parameter far; its square must not decide the next population


def elite_weights(elites: int) -> np.ndarray:
    """Returns the weights of the elites, the best first: proportional to log((1 + K) / i), with sum 1."""
    weights = np.log((1 + elites) / np.arange(1, elites + 1))
    return weights / weights.sum()


def ask(search: Parts, population: int, generator: np.random.Generator) -> np.ndarray:
    """Returns individuals, (population, D); the second half of an even population mirrors the first half at the mean."""
    half = generator.standard_normal((-(-population // 2), len(search["mean"])), np.float32)
    noise = np.concatenate([half, -half])[:population]
    return search["mean"] + np.sqrt(search["variance"]) * noise


def better_half(fitness: np.ndarray) -> np.ndarray:
    """Returns the indices of the better half, the best first. A fitness that is not finite is the worst.

    It is not among them, also if fewer than half are finite; only if none is, the first individual alone is returned.
    """
    finite = np.isfinite(fitness)
    return np.argsort(-np.where(finite, fitness, -np.inf), kind="stable")[: max(1, min(len(fitness) // 2, int(finite.sum())))]


def damping(start: float, end: float, decay: float, generation: int) -> float:
    """Returns what is added to the variance in a generation, counted from 1: d <- decay d + (1 - decay) end, in closed form.

    So all three numbers are in force at any time, also in a copy of a team that began with others.
    """
    return end + (start - end) * decay**generation


def tell(search: Parts, individuals: np.ndarray, fitness: np.ndarray, damping: float, divide_by_elites: bool = True) -> Parts:
    """Returns the search that is fitted to the better half of a population; the order of the individuals does not matter.

    Args:
        individuals, fitness: (N, D) and (N,); a fitness that is not finite is the worst.
        damping: of this generation.
        divide_by_elites: True divides the weighted variance by the number of elites, as the authors' code does. Their weights
            have the sum 1 already, so this shrinks it: under neutral fitness it stays at 1.25 times the damping for 5 elites.
    """
    best = better_half(fitness)
    elites = len(best)
    weights = elite_weights(elites).astype(np.float32)
    spread = weights @ (individuals[best] - search["mean"]) ** 2  # from the old mean
    variance = spread / (elites if divide_by_elites else 1) + damping
    return {
        "mean": weights @ individuals[best],
        "variance": np.clip(variance, damping, LARGEST_VARIANCE).astype(np.float32),
        "damping": np.float32(damping),
    }


def importance_mixing(
    old: Parts, search: Parts, individuals: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which old individuals are reused, as indices, and new ones, so that together they are a sample of the search.

    (arXiv 1808.05832.) An old one is kept with probability min(1, p_new / p_old), a new one accepted with
    max(0, 1 - p_old / p_new), until there are as many as before.

    Args:
        old: the search that `individuals`, (N, D), were drawn from; none of them was changed since.
    """
    count = len(individuals)
    ratio = _log_density(search, individuals) - _log_density(old, individuals)
    reused = np.flatnonzero(np.log(generator.uniform(size=count)) < ratio)
    accepted: list[np.ndarray] = []
    for _ in range(100 * count):
        if len(reused) + len(accepted) >= count:
            break
        draw = ask(search, 1, generator)
        ratio_of_new = float((_log_density(old, draw) - _log_density(search, draw))[0])
        if np.log(generator.uniform()) >= ratio_of_new:  # with probability 1 - min(1, p_old / p_new)
            accepted.append(draw[0])
    missing = count - len(reused) - len(accepted)
    if missing > 0:  # the two searches are nearly equal: whatever is drawn is a sample of both
        accepted += list(ask(search, missing, generator))
    fresh = np.asarray(accepted, np.float32).reshape(-1, individuals.shape[1])
    return reused, fresh


def _log_density(search: Parts, individuals: np.ndarray) -> np.ndarray:
    variance = search["variance"].astype(np.float64)
    return -0.5 * (((individuals - search["mean"]) ** 2 / variance).sum(1) + np.log(variance).sum())
