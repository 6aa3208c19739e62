"""GP-UCB, and its maximum: many candidates at once, then gradients from the best few. PB2 (arXiv:2002.02518).

    UCB(x) = μ(x) + √β σ(x)                              (1)
    β      = max(0.2 ln(0.4 n), 0.05),   n rows          (2)

The published code adds √β σ², the variance. Here it is the standard deviation, as in the papers on GP-UCB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from poptrain.algorithms.gp.kernels import Inputs
from poptrain.space.spread import latin_hypercube

if TYPE_CHECKING:
    from poptrain.algorithms.gp.posterior import Posterior

CANDIDATES = 512  # points over the whole space
STARTS = 3  # of them, from which the gradient is followed
CLIMB_STEPS = 10  # iterations of each ascent
NEIGHBOURS = 64  # points around the best one
NEAR = 0.02  # how far they are from it in each column, at most
SWEEP_CODES = np.linspace(0, 1, 257)  # finer than the levels of any coarse column, also on log scales
MIN_DISTANCE = 1e-3  # L∞ between a suggestion and every pending point, in encoded units

BETAS: dict[str, Callable[[int], float]] = {
    "pb2": lambda n: max(0.2 * float(np.log(0.4 * n)), 0.05),
    "ray": lambda n: 0.2 + max(0.0, float(np.log(0.4 * n))),
}


def beta_of(mode: str | float, rows: int) -> float:
    """Returns the weight β of exploration: a constant, or the formula of PB2 ("pb2", eq. 2) or of Ray Tune ("ray")."""
    return BETAS[mode](max(rows, 1)) if isinstance(mode, str) else float(mode)


@dataclass(frozen=True, eq=False)
class Question:
    """What a suggestion is asked for: one row of inputs, of which only the `free` columns of the units are to be chosen."""

    row: Inputs  # (1,)
    free: np.ndarray  # (f,) columns of the units
    coarse: np.ndarray  # (f,) bool: few levels, so that all can be tried
    snap: Callable[[np.ndarray], np.ndarray]  # (m, f) -> (m, f): onto the lattice of values
    taken: np.ndarray  # (p, f) the values of pending segments and earlier suggestions

    def filled(self, points: np.ndarray) -> Inputs:
        """Returns the inputs for some choices of the free columns; points (m, f)."""
        units = np.repeat(self.row.units, len(points), 0)
        units[:, self.free] = points
        return Inputs(np.repeat(self.row.time, len(points)), units, np.repeat(self.row.categories, len(points), 0))


def maximise(posterior: Posterior, question: Question, beta: float, generator: np.random.Generator) -> np.ndarray:
    """Returns the choice of the free columns, shape (f,), with the highest UCB that is not too close to a pending point."""
    kappa = float(np.sqrt(beta))

    def values(points: np.ndarray) -> np.ndarray:
        mean, sd = posterior.ask(question.filled(points))
        return np.where(np.isfinite(mean), mean + kappa * sd, -np.inf)  # eq. (1)

    points = question.snap(latin_hypercube(generator, CANDIDATES, len(question.free)))
    scores = values(points)
    best = points[np.argsort(-scores, kind="stable")[:STARTS]]
    if not question.coarse.all():
        best = question.snap(np.array([_climbed(posterior, question, kappa, start) for start in best]))
    best = _swept(best, question, values)
    top = best[int(np.argmax(values(best)))]
    near = np.clip(top + generator.uniform(-NEAR, NEAR, (NEIGHBOURS, len(top))), 0, 1)
    extra = np.concatenate([best, question.snap(near)])
    points, scores = np.concatenate([extra, points]), np.concatenate([values(extra), scores])
    points = points[np.argsort(-scores, kind="stable")]
    if len(question.taken) and not question.coarse.all():  # members have to share the values of coarse columns
        distance = np.abs(points[:, None, :] - question.taken[None, :, :]).max(2).min(1)
        points = points[distance >= MIN_DISTANCE] if (distance >= MIN_DISTANCE).any() else points
    chosen: np.ndarray = points[0]
    return chosen


def _swept(best: np.ndarray, question: Question, values: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Returns the points after each coarse column in turn was set to its best level; points (m, f)."""
    coarse = np.flatnonzero(question.coarse)
    if not len(coarse):
        return best
    grid = question.snap(np.repeat(SWEEP_CODES[:, None], best.shape[1], 1))
    for column in [*coarse, *coarse]:
        levels = np.unique(grid[:, column])
        tried = np.repeat(best[:, None], len(levels), 1)  # (m, levels, f)
        tried[:, :, column] = levels
        scores = values(tried.reshape(-1, best.shape[1])).reshape(len(best), -1)
        best = tried[np.arange(len(best)), scores.argmax(1)]
    return best


def _climbed(posterior: Posterior, question: Question, kappa: float, start: np.ndarray) -> np.ndarray:
    """Returns where the ascent from `start` ends, rounded to a millionth of the range."""
    from scipy.optimize import minimize

    def downhill(point: np.ndarray) -> tuple[float, np.ndarray]:
        mean, sd, by_mean, by_sd = posterior.slopes(question.filled(point[None]))
        return -(mean + kappa * sd), -(by_mean + kappa * by_sd)[question.free]

    bounds = [(value, value) if coarse else (0.0, 1.0) for value, coarse in zip(start, question.coarse, strict=True)]
    found = minimize(
        downhill, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": CLIMB_STEPS, "maxfun": 2 * CLIMB_STEPS}
    )
    return np.clip(found.x, 0, 1).round(6) if np.isfinite(found.x).all() else start
