"""What a learner reads: one member's recorded transitions, inside arrays that other members may share.

Rows are grouped into *slots*: one tick of every environment of every member each. A member's recording is a window of
slots that may wrap around, so recordings of different length can be written at one common slot. A *local* row counts from
the beginning of the window: tick * num_envs + environment.
"""

from __future__ import annotations

from typing import NamedTuple

from poptrain._jax import jnp
from poptrain.rl.memory.marks import RESET
from poptrain.rl.trees import Array


class Batch(NamedTuple):
    """One member's recording, in arrays of R rows; a slot is `Layout.stride` rows."""

    observations: Array  # (R, O); the tick after the last one holds the observations that were reached
    actions: Array  # (R, A)
    rewards: Array  # (R,)
    marks: Array  # (R,) uint8, see `marks`
    bootstrap: Array | None  # (R,) value of the final state where truncated; None: that state is recorded one tick later
    order: Array | None  # (rows,) int32: the local rows that are transitions, in the first n entries; None: all rows are
    n: Array  # transitions
    ticks: Array
    first_slot: Array
    lane: Array  # first row of the member inside a slot


class Layout(NamedTuple):
    """The settings of a `Batch` that fix the array shapes of a compiled program."""

    num_envs: int
    stride: int  # rows of a slot: num_envs times the members that share the arrays
    slots: int
    rows: int  # transitions of the largest batch
    chunk: int  # rows that are processed at once

    @property
    def local_rows(self) -> int:
        """Local rows that working memory needs: one member's slots, rounded up to whole chunks."""
        return -(-self.slots * self.num_envs // self.chunk) * self.chunk

    @property
    def table_rows(self) -> int:
        """Rows of a table of all transitions, rounded up to whole chunks."""
        return -(-self.rows // self.chunk) * self.chunk

    def find(self, batch: Batch, local: Array) -> Array:
        """Returns the rows of the shared arrays for some local rows."""
        slot = (batch.first_slot + local // self.num_envs) % self.slots
        return slot * self.stride + batch.lane + local % self.num_envs

    def tick(self, batch: Batch, tick: Array) -> Array:
        """Returns the first row of one tick, for a slice of `num_envs` rows."""
        return (batch.first_slot + tick) % self.slots * self.stride + batch.lane

    def real(self, batch: Batch, local: Array) -> Array:
        """Returns 1.0 for the local rows that are transitions, and 0.0 for the others."""
        inside = local < batch.ticks * self.num_envs
        return jnp.where(inside & (batch.marks[self.find(batch, local)] != RESET), 1.0, 0.0)
