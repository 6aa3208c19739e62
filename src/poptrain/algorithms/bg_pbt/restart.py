"""Where the search of BG-PBT begins again after its trust region has collapsed (section 3.1 of arXiv:2207.09405).

An auxiliary process is fitted to the best segment of every former region. The new centre is the point with its highest upper
bound, μ + 1.96 σ, of many points that cover the space: near what was good, and away from what has been searched.
"""

from __future__ import annotations

import numpy as np

from poptrain.algorithms.gp.copula import copula
from poptrain.algorithms.gp.matern import MaternOverlap
from poptrain.algorithms.gp.rows import Rows
from poptrain.algorithms.gp.trust_region import Region, gain_of
from poptrain.core import Hparams
from poptrain.core.protocols import Clone
from poptrain.core.rng import rng

POINTS = 200
WEIGHT = 1.96  # of the standard deviation


def restart_centre(rows: Rows, region: Region, clone: Clone) -> Hparams:
    """Returns the configuration around which a clone of the new region is drawn; it is the same for all clones."""
    from poptrain.algorithms.gp import posterior as gp

    history, space = rows.history, rows.space
    ids = np.array([id for id in region.summits if history.ok(id) and history.ok(history.task(id).parent)], int)
    if not len(ids):
        return clone.hparams
    generator = rng(history.seed, region.generation, "restart")
    drawn = space.spread([{} for _ in range(POINTS)], generator)
    fixed = [space.finish({**point, **{name: clone.hparams[name] for name in space.static_names}}) for point in drawn]
    inputs = rows.inputs(ids)
    points = rows.at(np.full(POINTS, clone.parent), np.array([space.encode(point) for point in fixed]))
    kernel = MaternOverlap(rows.names, inputs.categories.shape[1])
    targets = copula(np.array([gain_of(history, int(id)) for id in ids]))
    with gp.one_thread():
        process = gp.fit(kernel, inputs, targets, None, gp.QUICK)
        mean, sd = process.ask(points)
    return fixed[int(np.argmax(mean + WEIGHT * sd))]
