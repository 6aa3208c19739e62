"""The actors of a run: as many as are wanted and the cluster has room for, moved away from nodes that are about to leave."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any

from poptrain.core import clock
from poptrain.core.errors import Suspended, UsageError
from poptrain.executors.ray import cluster
from poptrain.executors.ray.slot import Slot

LOOK = 2.0  # seconds between looks at the cluster
QUIET = 15.0  # seconds without any worker after which that is said


class Crew:
    """The actors, and the nodes as they were when last looked at.

    Args:
        config: of the executor: slots, what each asks for, patience.
        lanes: the most tasks ever pending.
        may_grow: nodes may join the cluster; if not, what fits nowhere is an error at once.
    """

    def __init__(self, config: Any, lanes: int, may_grow: bool):
        self._config, self._lanes = config, lanes
        self._setup: Any = None
        self.slots: list[Slot] = []
        self.draining = False  # no new ones
        self._nodes = cluster.nodes()
        self._looked = self._served = clock.monotonic()  # when the cluster was last looked at, and had room for us
        self._warned = False
        if not may_grow and not self.room():
            raise UsageError(f"Ray: no worker fits: {self._wanting()}. Lower cpus, gpus or resources.")

    def room(self) -> int:
        """Returns how many actors the cluster could hold, were it empty."""
        return sum(node.room(self._config.demand) for node in self._nodes if not node.leaving)

    def wanted(self) -> int:
        """Returns how many actors there should be."""
        config = self._config
        if config.slots is not None:
            return min(config.slots, self._lanes)
        if config.vectorized and not config.gpus:
            return 1
        return max(1, min(self.room(), self._lanes))

    def hire(self, setup: Any) -> None:
        """Starts the first actors; `setup` is a reference to what each of them is given."""
        self._setup = setup
        self.grow()

    def grow(self) -> None:
        """Starts the actors that are missing; those that find no room wait for it, and a cluster that scales sees them."""
        while not self.draining and len(self.slots) < self.wanted():
            self.slots.append(Slot.started(self._config.demand, self._setup))

    def drop(self, slot: Slot) -> None:
        """Ends an actor, dead or alive."""
        if slot in self.slots:
            self.slots.remove(slot)
        with suppress(Exception):
            slot.end()

    def end(self) -> None:
        """Ends all actors."""
        for slot in list(self.slots):
            self.drop(slot)

    def on_a_living_node(self, slot: Slot) -> bool:
        """True unless the node that an actor was on is known to be gone."""
        self._nodes = cluster.nodes()
        return slot.node is None or any(node.id == slot.node for node in self._nodes)

    def look(self) -> None:
        """Looks at the cluster from time to time: what is about to leave gets no more tasks, what has joined is used.

        Raises:
            Suspended: there was no room for a single worker for too long, or there is no cluster any more.
        """
        if clock.monotonic() - self._looked <= LOOK:
            return
        self._looked = clock.monotonic()
        self._nodes = cluster.nodes()
        staying = {node.id for node in self._nodes if not node.leaving}
        for slot in list(self.slots):
            if slot.node is not None and slot.node not in staying:
                slot.leaving = True
                if slot.call is None and not slot.orders:
                    self.drop(slot)
        self.grow()
        self._check_served()

    def _check_served(self) -> None:
        patience = self._config.patience
        if any(slot.about is not None for slot in self.slots):
            self._served, self._warned = self._looked, False
            return
        waited = self._looked - self._served
        if waited > patience:
            raise Suspended(
                f"Ray placed no worker for {patience:g} s (patience): {self._wanting()}. `poptrain resume` goes on when there is "
                "room."
            )
        if waited > min(QUIET, patience / 2) and not self._warned:
            self._warned = True
            warnings.warn(f"Ray has placed no worker yet: {self._wanting()}.", stacklevel=2)

    def _wanting(self) -> str:
        return cluster.wanting(self._config.demand, self._nodes)
