"""`Batches`: the order of the data, and a position in it that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poptrain.core import Carry
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError

Indices = np.ndarray  # of rows: int64, shape (size,)


class Batches(Iterator[Indices]):
    """Indices of the rows of each batch, epoch after epoch without end; a copy and a resumed run go on at the same row.

    Keep it in an attribute and call ``next``. The order of an epoch is drawn from numpy's global generator when the epoch begins.
    Rows at its end that do not fill a batch are left out. A copy with another batch size continues the same order.

    Args:
        rows: of the data.
        size: rows of a batch.
    """

    def __init__(self, rows: int, size: int):
        if not 0 < size <= rows:
            raise UsageError(f"Batches(rows={rows}, size={size}): expected a size from 1 to the number of rows.")
        self.rows, self.size = rows, size
        self.epoch, self.position = 0, 0  # epochs that are complete; rows of this epoch that were used
        self._order: Indices | None = None

    def __next__(self) -> Indices:
        if self._order is not None and self.position + self.size > self.rows:
            self._order, self.epoch, self.position = None, self.epoch + 1, 0
        if self._order is None:
            self._order = np.random.permutation(self.rows)
        self.position += self.size
        return self._order[self.position - self.size : self.position]

    def state_dict(self) -> Carry:
        """Returns the order and the position."""
        return {"rows": self.rows, "epoch": self.epoch, "position": self.position, "order": self._order}

    def load_state_dict(self, state: Carry) -> None:
        """Goes to a position that `state_dict` returned.

        Raises:
            UsageError: it is of data with another number of rows.
        """
        if state["rows"] != self.rows:
            raise UsageError(
                f"the checkpoint has the order of {counted(state['rows'], 'row')}, but make() has Batches of "
                f"{counted(self.rows, 'row')}."
            )
        self.epoch, self.position, self._order = state["epoch"], state["position"], state["order"]
