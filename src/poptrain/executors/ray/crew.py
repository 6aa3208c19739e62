"""The actors of a run: as many as are wanted and the cluster has room for, on nodes that are not about to be taken away."""

from __future__ import annotations

from contextlib import suppress

from poptrain.core import clock
from poptrain.core.commands import poptrain
from poptrain.core.errors import Suspended, UsageError
from poptrain.core.warned import warn_user
from poptrain.executors.ray import cluster
from poptrain.executors.ray.options import RayOptions
from poptrain.executors.ray.slot import ObjectRef, Slot

CLUSTER_POLL = 2.0  # seconds between looks at the cluster
WARN_AFTER = 15.0  # seconds without a single worker before the user is warned


class Crew:
    """The actors, and the nodes as they were when last looked at.

    Args:
        options: the number of slots, what each actor needs, and the patience.
        lanes: the most tasks that are ever pending.
        may_grow: True if nodes may join the cluster; if not, an actor that fits on no node is an error at once.
    """

    def __init__(self, options: RayOptions, lanes: int, may_grow: bool):
        self._options, self._lanes = options, lanes
        self._setup: ObjectRef = None
        self.slots: list[Slot] = []
        self.draining = False  # True: no new actors are started
        self._nodes = cluster.nodes()
        self._looked = self._served = clock.monotonic()  # when the cluster was last looked at, and had a worker
        self._warned = False
        if not may_grow and not self.room():
            raise UsageError(f"Ray: the cluster has no room for a worker: {self._wanting()}. Lower cpus, gpus or resources.")

    def room(self) -> int:
        """Returns how many actors the cluster could hold if it was empty."""
        return sum(node.room(self._options.demand) for node in self._nodes if not node.leaving)

    def wanted(self) -> int:
        """Returns how many actors there should be."""
        options = self._options
        if options.slots is not None:
            return min(options.slots, self._lanes)
        if options.vectorized and not options.gpus:
            return 1
        return max(1, min(self.room(), self._lanes))

    def hire(self, setup: ObjectRef) -> None:
        """Starts the first actors; `setup` refers to the `ActorSetup` that each of them is sent."""
        self._setup = setup
        self.grow()

    def grow(self) -> None:
        """Starts the actors that are missing. Those without room wait for it, so that a cluster that scales sees the demand."""
        while not self.draining and len(self.slots) < self.wanted():
            self.slots.append(Slot.started(self._options.demand, self._setup))

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
        """Looks at the cluster from time to time: nodes that are about to leave get no more tasks, and new ones are used.

        Raises:
            Suspended: there was no room for a single worker for too long, or the cluster is lost.
        """
        if clock.monotonic() - self._looked <= CLUSTER_POLL:
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
        patience = self._options.patience
        if any(slot.about is not None for slot in self.slots):
            self._served, self._warned = self._looked, False
            return
        waited = self._looked - self._served
        if waited > patience:
            raise Suspended(
                f"Ray placed no worker for {patience:g} s (patience): {self._wanting()}. When there is room, "
                f"`{poptrain('resume')}` continues the run."
            )
        if waited > min(WARN_AFTER, patience / 2) and not self._warned:
            self._warned = True
            warn_user(f"Ray has placed no worker yet: {self._wanting()}.")

    def _wanting(self) -> str:
        return cluster.wanting(self._options.demand, self._nodes)
