"""The maximum of μ(x) + √β σ(x) over the whole space: many candidates at once, then gradients from the best few.

`pb2` needs it in the paper's form; by default it takes the best of a few points instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from poptrain.algorithms.gp.columns import ModelColumns
from poptrain.algorithms.gp.kernels import Inputs
from poptrain.algorithms.gp.rows import Rows
from poptrain.algorithms.parts.explore import on_lattice
from poptrain.core import Hparams
from poptrain.core.protocols import Clone
from poptrain.core.rng import rng
from poptrain.space import Space
from poptrain.space.spread import latin_hypercube

if TYPE_CHECKING:
    from poptrain.algorithms.gp.posterior import Posterior

CANDIDATES = 512  # points over the whole space
STARTS = 3  # of them, from which the gradient is followed
CLIMB_STEPS = 10  # iterations of each ascent
NEIGHBOURS = 64  # points around the best one
NEAR = 0.02  # how far they are from it in each column, at most
SWEEP_CODES = np.linspace(0, 1, 257)  # finer than the levels of any coarse column, also on log scales
COARSE = 32  # levels up to which all are tried, instead of following a gradient
MIN_DISTANCE = 1e-3  # L∞ between a suggestion and every pending point, in encoded units


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


def best_anywhere(rows: Rows, process: Posterior, beta: float, clone: Clone, waiting: Inputs) -> Hparams:
    """Returns the configuration of a clone with the numbers that have the highest μ + √β σ, for its next segment.

    Args:
        waiting: the pending points, which a suggestion keeps away from.
    """
    space = rows.space
    row = rows.at(np.array([clone.parent]), space.encode(clone.hparams)[None])
    codes = maximise(
        process, asked(space, row, waiting, int(rows.context)), beta, rng(rows.history.seed, clone.id, "acquisition")
    )
    free = [space.names[i] for i in ModelColumns.of(space).free]
    numbers = {name: space[name].decode(u) for name, u in zip(free, codes.tolist(), strict=True)}
    return on_lattice(space, clone, {**clone.hparams, **numbers})


def asked(space: Space, row: Inputs, waiting: Inputs, contexts: int) -> Question:
    """Returns the question for the numbers of one clone, whose `contexts` (0 or 1) and categories are those of `row`."""
    columns = ModelColumns.of(space)
    free = [space[space.names[i]] for i in columns.free]
    places = np.array([contexts + columns.numeric.index(i) for i in columns.free])  # the context comes first
    coarse = np.array([p.levels is not None and p.levels <= COARSE for p in free])

    def snap(points: np.ndarray) -> np.ndarray:
        out = points.copy()
        for column, p in enumerate(free):
            if p.levels is not None:
                out[:, column] = [p.encode(p.decode(u)) for u in points[:, column].tolist()]
        return out

    return Question(row, places, coarse, snap, waiting.units[:, places])


def maximise(posterior: Posterior, question: Question, beta: float, generator: np.random.Generator) -> np.ndarray:
    """Returns the choice of the free columns, shape (f,), with the highest UCB that is not too close to a pending point."""
    kappa = float(np.sqrt(beta))

    def values(points: np.ndarray) -> np.ndarray:
        mean, sd = posterior.ask(question.filled(points))
        return np.where(np.isfinite(mean), mean + kappa * sd, -np.inf)  # `pb2`, eq. (4)

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
        mean, sd, by_mean, by_sd = slopes(posterior, question.filled(point[None]))
        return -(mean + kappa * sd), -(by_mean + kappa * by_sd)[question.free]

    bounds = [(value, value) if coarse else (0.0, 1.0) for value, coarse in zip(start, question.coarse, strict=True)]
    found = minimize(
        downhill, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": CLIMB_STEPS, "maxfun": 2 * CLIMB_STEPS}
    )
    return np.clip(found.x, 0, 1).round(6) if np.isfinite(found.x).all() else start


def slopes(posterior: Posterior, one: Inputs) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Returns mean, standard deviation and their derivatives by the units, at one input; shapes (), (), (d,), (d,)."""
    from scipy.linalg.lapack import dtrtrs

    kernel, theta = posterior.kernel, posterior.theta[:-1]
    row, slope = kernel.slope(theta, one, posterior.spread)
    n = len(posterior.alpha)
    half = dtrtrs(posterior.factor, row, lower=1)[0]
    whole = dtrtrs(posterior.factor, half, lower=1, trans=1)[0]
    sd = float(np.sqrt(max(kernel.variance(theta) - half @ half, 1e-12)))
    return float(row[:n] @ posterior.alpha), sd, posterior.alpha @ slope[:n], -(whole @ slope) / sd
