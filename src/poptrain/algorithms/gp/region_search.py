"""The search for the best hyperparameters inside a trust region: BG-PBT's, and that of PB2 with its option `trust_region`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from poptrain.algorithms.gp.columns import ModelColumns
from poptrain.algorithms.gp.kernels import Inputs
from poptrain.algorithms.gp.local_search import Neighbourhood, searched
from poptrain.algorithms.gp.maximum import slopes
from poptrain.algorithms.gp.rows import Rows
from poptrain.algorithms.gp.trust_region import Region, flips, widths
from poptrain.algorithms.parts.explore import on_lattice
from poptrain.core import Hparams
from poptrain.core.protocols import Clone
from poptrain.core.rng import rng
from poptrain.space import Space

if TYPE_CHECKING:
    from poptrain.algorithms.gp.posterior import Posterior


def neighbourhood(
    space: Space, hparams: Hparams, region: Region, lengths: np.ndarray | None, categories: bool = True
) -> Neighbourhood:
    """Returns the trust region around a configuration.

    Args:
        lengths: the length-scales of the numbers that may change; None: the box is a cube.
        categories: they may change too.
    """
    columns = ModelColumns.of(space)
    free, changing = columns.free, [i for i in columns.categorical if not space[space.names[i]].static]
    width = widths(region, np.ones(len(free)) if lengths is None else lengths)
    if not categories:
        return Neighbourhood(space, space.encode(hparams), free, width, exact=region.exact)
    most = flips(region, len(changing))
    return Neighbourhood(space, space.encode(hparams), free, width, tuple(changing), most, region.exact)


def best_inside(rows: Rows, process: Posterior, beta: float, clone: Clone, region: Region, categories: bool = True) -> Hparams:
    """Returns the configuration with the highest μ + √β σ in the trust region around that of a clone, for its next segment."""
    near = neighbourhood(rows.space, clone.hparams, region, free_lengths(rows, process), categories)
    return best_near(rows, process, beta, clone, near)


def free_lengths(rows: Rows, process: Posterior) -> np.ndarray:
    """Returns the length-scales of the numbers that may change; shape (f,)."""
    columns = ModelColumns.of(rows.space)
    lengths = process.kernel.lengths(process.theta[:-1])
    skipped = len(lengths) - len(columns.numeric)
    found: np.ndarray = lengths[[skipped + columns.numeric.index(column) for column in columns.free]]
    return found


def best_near(rows: Rows, process: Posterior, beta: float, clone: Clone, near: Neighbourhood) -> Hparams:
    """Returns the configuration with the highest μ + √β σ in a neighbourhood, for the next segment of a clone."""
    columns, kappa, skipped = ModelColumns.of(rows.space), float(np.sqrt(beta)), int(rows.context)
    places = [skipped + columns.numeric.index(column) for column in near.free]
    start = rows.at(np.array([clone.parent]), near.centre[None])
    context, numeric, seen = start.units[:, :skipped], list(columns.numeric), list(rows.categories)

    def inputs(points: np.ndarray) -> Inputs:
        units = np.concatenate([np.repeat(context, len(points), 0), points[:, numeric]], 1)  # the context is the parent's
        return Inputs(np.repeat(start.time, len(points)), units, points[:, seen].astype(int))

    def values(points: np.ndarray) -> np.ndarray:
        mean, sd = process.ask(inputs(points))
        return np.where(np.isfinite(mean), mean + kappa * sd, -np.inf)

    def slope(point: np.ndarray) -> tuple[float, np.ndarray]:
        mean, sd, by_mean, by_sd = slopes(process, inputs(point[None]))
        by = np.zeros(len(point))
        by[list(near.free)] = (by_mean + kappa * by_sd)[places]
        return mean + kappa * sd, by

    codes = searched(values, slope, near, rng(rows.history.seed, clone.id, "acquisition"))
    return decoded(rows.space, clone, near, codes)


def decoded(space: Space, clone: Clone, near: Neighbourhood, codes: np.ndarray) -> Hparams:
    """Returns the clone's configuration with the columns of the neighbourhood set to these codes."""
    names = [(column, space.names[column]) for column in (*near.free, *near.categories)]
    chosen = {name: space[name].decode(float(codes[column])) for column, name in names if codes[column] != near.centre[column]}
    kept = {name: space[name].decode(float(near.centre[column])) for column, name in names if name not in chosen}
    return on_lattice(space, clone, {**clone.hparams, **kept, **chosen})
