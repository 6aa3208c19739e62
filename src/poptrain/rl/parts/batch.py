"""What a learner reads: one member's recorded transitions inside arrays that it may share with others.

Rows are grouped into *slots*, one tick of every environment of every member each. A member's recording is a window of
slots that may wrap around, so recordings of different length can be written at one common slot. A *local* row counts from
the window's begin: tick * num_envs + environment.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from poptrain._jax import jnp
from poptrain.rl.parts.gae import RESET


class Batch(NamedTuple):
    """One member's recording; R rows in all, in slots of `stride` rows."""

    observations: Any  # (R, O); the tick behind the last one holds the observations that it reached
    actions: Any  # (R, A)
    rewards: Any  # (R,)
    marks: Any  # (R,) uint8, see `gae`
    bootstrap: Any | None  # (R,) value of the final state where truncated; None: it stands one tick later
    order: Any | None  # (rows,) int32: the local rows that are transitions, first n; None: all of them
    n: Any  # transitions
    ticks: Any
    first_slot: Any
    lane: Any  # first row of the member inside a slot


class Layout(NamedTuple):
    """The static side of a `Batch`."""

    num_envs: int
    stride: int  # rows of a slot: num_envs times the members that share the arrays
    slots: int
    rows: int  # transitions of the greatest batch
    chunk: int  # rows that are processed at once

    @property
    def local_rows(self) -> int:
        """Local rows that working memory needs: one member's slots, up to a whole number of chunks."""
        return -(-self.slots * self.num_envs // self.chunk) * self.chunk

    @property
    def table_rows(self) -> int:
        """Rows of a table of all transitions, up to a whole number of chunks."""
        return -(-self.rows // self.chunk) * self.chunk

    def find(self, batch: Batch, local: Any) -> Any:
        """Returns the rows of the shared arrays of some local rows."""
        slot = (batch.first_slot + local // self.num_envs) % self.slots
        return slot * self.stride + batch.lane + local % self.num_envs

    def tick(self, batch: Batch, tick: Any) -> Any:
        """Returns the first row of one tick, for a slice of `num_envs` rows."""
        return (batch.first_slot + tick) % self.slots * self.stride + batch.lane

    def real(self, batch: Batch, local: Any) -> Any:
        """Returns where local rows are transitions: 1.0, else 0.0."""
        inside = local < batch.ticks * self.num_envs
        return jnp.where(inside & (batch.marks[self.find(batch, local)] != RESET), 1.0, 0.0)
