"""The carries that travel with tasks, so that an actor does not read them from disk, or because it cannot."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from poptrain.core import Carry
from poptrain.core.errors import CheckpointDamaged
from poptrain.executors.context import Context
from poptrain.executors.ray.plan import at_home
from poptrain.executors.ray.relay import files_in
from poptrain.executors.ray.slot import ActorOrder, Slot
from poptrain.trainable import in_directories

Damaged = list[tuple[ActorOrder, CheckpointDamaged]]


class Cargo:
    """Loads carries for the actors of a run.

    Args:
        vectorized: each actor trains its members in one program, and can start from all of their states.
        by_driver: actors read no disk: whatever they need travels with their tasks.
    """

    def __init__(self, context: Context, vectorized: bool, by_driver: bool):
        self._context, self._vectorized, self._by_driver = context, vectorized, by_driver

    def load(self, slot: Slot, orders: Sequence[ActorOrder], idle: Collection[Slot]) -> tuple[dict[str, Carry], Damaged]:
        """Returns the carries that go along with tasks, by reference, and the tasks whose checkpoints are damaged.

        Args:
            slot: of the actor that is sent the tasks.
            idle: actors that can hand over what they have in memory.
        """
        carries: dict[str, Carry] = {}
        damaged: Damaged = []
        for order in orders:
            try:
                for ref, task in self._sources(slot, order):
                    if ref in carries:
                        continue
                    if self._by_driver:
                        carries[ref] = self._fetched(ref)
                    elif order.gifts and (holder := _holder(task, idle)) and holder.node != slot.node:
                        carries[ref] = holder.hand(ref)
            except CheckpointDamaged as error:
                damaged.append((order, error))
        return carries, damaged

    def _sources(self, slot: Slot, order: ActorOrder) -> list[tuple[str, int]]:
        """Returns the checkpoints that a task needs and that its actor does not have in memory, with their tasks."""
        task, start = order.task, order.start
        sources = []
        if start.teacher is not None and task.teacher is not None:
            sources.append((start.teacher, task.teacher))
        if start.parent is not None and task.parent is not None:
            warm = at_home(order, slot) or (self._vectorized and task.parent in slot.held.values())
            if not warm:
                sources.append((start.parent, task.parent))
        return sources

    def _fetched(self, ref: str) -> Carry:
        """Returns what `StoreInParcels` needs in order to read a checkpoint: its carry, or the files of the user's class."""
        store = self._context.store
        return files_in(store.path(ref)) if in_directories(self._context.trainable) else store.read(ref)


def _holder(task: int, idle: Collection[Slot]) -> Slot | None:
    """Returns the idle actor that has the state of a task in memory."""
    return next((slot for slot in idle if task in slot.held.values()), None)
