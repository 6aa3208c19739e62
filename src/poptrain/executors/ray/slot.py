"""An actor as the driver sees it, and the tasks on their way to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from poptrain.core import Carry, clock
from poptrain.executors.orders import Order
from poptrain.executors.ray.actor import TrainingActor
from poptrain.executors.ray.messages import Ready

# Ray has no types for its handles: an actor's methods are made at run time.
ActorHandle = Any
ObjectRef = Any


@dataclass(eq=False, slots=True)
class ActorOrder(Order):
    """A task on its way to an actor, with what earlier attempts have shown."""

    moves: int = 0  # how often it has lost its node
    shortages: int = 0  # how often its node ran out of memory
    single: bool = False  # sent in a call of its own: one of several died with its worker, and it is not known which
    alone: bool = False  # sent to a node without other tasks of this run
    gifts: bool = True  # carries may come from other actors


@dataclass(eq=False, slots=True)
class Slot:
    """One actor. `call` is the call that has not returned yet, `orders` are the tasks that were sent with it."""

    actor: ActorHandle
    call: ObjectRef
    orders: Sequence[ActorOrder] = ()
    since: float = 0.0
    about: Ready | None = None  # None while it is being started
    leaving: bool = False  # it gets no more tasks
    asked: float | None = None  # since when `call` is no longer its tasks, but the question whether it is alive
    ask_at: float = 0.0  # when it is asked again
    stored: dict[str, list[str]] = field(default_factory=dict)  # of the last call: name of a parcel -> references
    held: dict[int, int] = field(default_factory=dict)  # as the actor itself reported: member -> the task whose state it has

    @classmethod
    def started(cls, demand: dict[str, float], setup: ObjectRef) -> Slot:
        """Returns an actor that is being placed and set up; it may have to wait for resources."""
        demand = dict(demand)
        reserved = {"num_cpus": demand.pop("CPU", 0), "num_gpus": demand.pop("GPU", 0), "resources": demand}
        actor: ActorHandle = (
            ray.remote(TrainingActor)
            .options(max_restarts=0, max_task_retries=0, **reserved)
            .remote([os.path.abspath(path) for path in sys.path])
        )
        return cls(actor, actor.prepare.remote(setup), since=clock.monotonic())

    @property
    def id(self) -> str:
        return str(self.actor._actor_id.hex())

    @property
    def node(self) -> str | None:
        return None if self.about is None else self.about.node

    @property
    def free(self) -> bool:
        return self.about is not None and self.call is None and self.asked is None and not self.leaving

    def send(self, orders: Sequence[ActorOrder], carries: Mapping[str, Carry]) -> None:
        """Sends tasks to an actor that is free, and by reference the carries that it need not read."""
        self.orders, self.since, self.stored = orders, clock.monotonic(), {}
        pairs = [(order.task, order.start) for order in orders]
        for order in orders:
            self.held.pop(order.task.member, None)
        along = (list(carries), *carries.values()) if carries else ()
        self.call = self.actor.perform.remote(pairs, *along)

    def hand(self, ref: str) -> ObjectRef:
        """Returns the future of a carry that this actor holds."""
        return self.actor.hand.remote(ref)

    def doubt(self, seconds: float) -> bool:
        """Notes that the actor cannot be reached, so that `ask` asks whether it is alive; False after `seconds` of that."""
        now = clock.monotonic()
        self.asked = now if self.asked is None else self.asked
        self.call, self.ask_at = None, now + 0.3
        return now - self.asked < seconds

    def ask(self) -> None:
        """Asks an actor in doubt whether it is alive, when it is time to."""
        if self.asked is not None and self.call is None and clock.monotonic() >= self.ask_at:
            self.call = self.actor.lives.remote()

    def end(self) -> None:
        """Kills the actor, also in the middle of a task."""
        ray.kill(self.actor, no_restart=True)
