"""The highest upper confidence bound inside the trust region around one configuration: the search that PB2 and BG-PBT share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from poptrain.algorithms.gp.kernels import Inputs
from poptrain.algorithms.gp.local_search import Neighbourhood, searched
from poptrain.algorithms.gp.round_model import RoundModel
from poptrain.algorithms.gp.rows import ModelColumns
from poptrain.algorithms.gp.trust_region import Region, flips, widths
from poptrain.core import Hparams, Value
from poptrain.core.protocols import Clone
from poptrain.space import Space

if TYPE_CHECKING:
    from poptrain.algorithms.gp.posterior import Posterior


def neighbourhood(
    space: Space, hparams: Hparams, region: Region, lengths: np.ndarray | None, options: bool = True
) -> Neighbourhood:
    """Returns the trust region around a configuration.

    Args:
        lengths: length-scales of the free columns; None: all equal, so that the box is a cube.
        options: False: categories are not changed.
    """
    columns = ModelColumns.of(space)
    changing = tuple(i for i in columns.categorical if options and not space[space.names[i]].static)
    width = widths(region, np.ones(len(columns.free)) if lengths is None else lengths)
    return Neighbourhood(space, space.encode(hparams), columns.free, width, changing, flips(region, len(changing)))


def best_near(
    model: RoundModel,
    process: Posterior,
    region: Region,
    clone: Clone,
    start: Hparams,
    options: bool,
    generator: np.random.Generator,
) -> dict[str, Value]:
    """Returns the configuration near `start` for the clone's next segment with the highest μ + √β σ, before it is repaired.

    Args:
        options: False: the categories of `start` are kept.
    """
    rows, kappa = model.rows, float(np.sqrt(model.beta))
    columns = ModelColumns.of(rows.space)
    skipped = int(rows.context)  # the context comes first, and is the parent's
    places = [skipped + columns.numeric.index(column) for column in columns.free]
    near = neighbourhood(rows.space, start, region, process.kernel.lengths(process.theta[:-1])[places], options)
    first = rows.at(np.array([clone.parent]), near.centre[None])
    context, numeric, seen = first.units[:, :skipped], list(columns.numeric), list(rows.categories)

    def inputs(points: np.ndarray) -> Inputs:
        units = np.concatenate([np.repeat(context, len(points), 0), points[:, numeric]], 1)
        return Inputs(np.repeat(first.time, len(points)), units, points[:, seen].astype(int))

    def values(points: np.ndarray) -> np.ndarray:
        mean, sd = process.ask(inputs(points))
        return np.where(np.isfinite(mean), mean + kappa * sd, -np.inf)

    def slope(point: np.ndarray) -> tuple[float, np.ndarray]:
        mean, sd, by_mean, by_sd = process.slopes(inputs(point[None]))
        by = np.zeros(len(point))
        by[list(near.free)] = (by_mean + kappa * by_sd)[places]
        return mean + kappa * sd, by

    return moved(near, start, searched(values, slope, near, generator))


def moved(near: Neighbourhood, start: Hparams, codes: np.ndarray) -> dict[str, Value]:
    """Returns `start` with the values of a point of the neighbourhood around it."""
    names = near.space.names
    changed = [column for column in (*near.free, *near.categories) if codes[column] != near.centre[column]]
    return {**start, **{names[column]: near.space[names[column]].decode(float(codes[column])) for column in changed}}
