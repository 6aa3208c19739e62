"""The model of one round of PB2: the fitted process, and the points that are pending so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from poptrain.algorithms.gp.kernels import Inputs
from poptrain.algorithms.gp.rows import Rows
from poptrain.core import Hparams, Value
from poptrain.core.protocols import Clone

if TYPE_CHECKING:
    from poptrain.algorithms.gp.posterior import Posterior

MIN_ROWS = 3  # with fewer rows there is no model


@dataclass(frozen=True, eq=False)
class RoundModel:
    """What one round has learned: the fitted process, and the pending points so far."""

    rows: Rows
    inputs: Inputs  # of the rows
    beta: float
    own: Posterior  # the process; in PB2-Mult, rows of different categories are independent in it
    pooled: Posterior | None  # PB2-Mult: the same parameters, with the rows of all categories together
    waiting: Inputs  # the pending points

    def row(self, clone: Clone, hparams: Hparams) -> Inputs:
        """Returns the inputs of the clone's next segment with some hyperparameters; one row."""
        return self.rows.at(np.array([clone.parent]), self.rows.space.encode(hparams)[None])

    def rows_of(self, clone: Clone, points: Sequence[Hparams]) -> Inputs:
        """Returns the inputs of the clone's next segment with each of some hyperparameters."""
        codes = np.array([self.rows.space.encode(point) for point in points])
        return self.rows.at(np.full(len(points), clone.parent), codes)

    def with_pending(self, more: Inputs) -> RoundModel:
        """Returns the model after more points are pending: the mean stays, the spread shrinks around them."""
        own, pooled = self.own.with_pending(more), self.pooled and self.pooled.with_pending(more)
        return replace(self, own=own, pooled=pooled, waiting=self.waiting.join(more))

    def process_for(self, row: Inputs) -> tuple[Posterior, dict[str, Value]]:
        """Returns the process that is asked about a row, and what the note of PB2-Mult states about it.

        It is the pooled one if the category of the row has too few rows of its own.
        """
        if self.pooled is None:
            return self.own, {}
        count = int((self.inputs.categories == row.categories).all(1).sum())
        few = count < MIN_ROWS
        return self.pooled if few else self.own, {"rows of the category": count, "learned from all": few}
