"""An actor as the driver sees it, and a task on its way to one."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray

from poptrain.core import Task, clock
from poptrain.executors.context import Context, Start
from poptrain.executors.ray.actor import Ready, Trainer


@dataclass(eq=False, slots=True)
class Order:
    """A task on its way. Attempts name checkpoints: no two of them share one, whatever became of the earlier."""

    task: Task
    start: Start
    attempt: int = 1
    deaths: int = 0  # how often it lost its worker, for its own fault as far as one can tell
    moves: int = 0  # how often it lost its node
    shortages: int = 0  # how often its node ran out of memory
    after: float = 0.0  # not before this time
    single: bool = False  # in a call of its own: one of several died with its worker, and who it was is not known
    alone: bool = False  # with nothing else of this run on the node
    gifts: bool = True  # carries may come from other actors

    def again(self, context: Context, group: bool) -> None:
        """Makes the next attempt of it."""
        self.attempt += 1
        name = context.group if group else context.name
        self.start = replace(self.start, name=name(self.task, self.attempt))


@dataclass(eq=False, slots=True)
class Slot:
    """One actor. `call` is the call that has not returned yet, `orders` what it was given with it."""

    actor: Any
    call: Any
    orders: Sequence[Order] = ()
    since: float = 0.0
    about: Ready | None = None  # None: it is being started
    leaving: bool = False  # it gets no more tasks
    asked: float | None = None  # since when `call` is not its tasks any more, but the question whether it lives
    ask_at: float = 0.0  # when it is asked again
    stored: dict[str, list[str]] = field(default_factory=dict)  # of the last call: checkpoints that came along -> references
    held: dict[int, int] = field(default_factory=dict)  # member -> its last task, whose state is in memory there

    @classmethod
    def started(cls, demand: dict[str, float], setup: Any) -> Slot:
        """Returns an actor that is being placed and set up; it waits for resources, if it must."""
        demand = dict(demand)
        reserved = {"num_cpus": demand.pop("CPU", 0), "num_gpus": demand.pop("GPU", 0), "resources": demand}
        actor = (
            ray.remote(Trainer)
            .options(max_restarts=0, max_task_retries=0, **reserved)
            .remote([os.path.abspath(path) for path in sys.path])
        )
        return cls(actor, actor.prepare.remote(setup), since=clock.monotonic())

    @property
    def id(self) -> str:
        return self.actor._actor_id.hex()

    @property
    def node(self) -> str | None:
        return None if self.about is None else self.about.node

    @property
    def free(self) -> bool:
        return self.about is not None and self.call is None and self.asked is None and not self.leaving

    def give(self, orders: Sequence[Order], carries: dict[str, Any]) -> None:
        """Sends tasks to an actor that is free, and what their checkpoints hold, where that need not be read."""
        self.orders, self.since, self.stored = orders, clock.monotonic(), {}
        pairs = [(order.task, order.start) for order in orders]
        for order in orders:
            self.held.pop(order.task.member, None)
        self.call = self.actor.perform.remote(pairs, list(carries), *carries.values()) if carries else (
            self.actor.perform.remote(pairs)
        )  # fmt: skip

    def holds(self, task: Task, warm: int) -> None:
        """Notes that the actor has the state of a task in memory; it keeps those of its `warm` newest members."""
        self.held[task.member] = task.id
        if len(self.held) > warm:
            del self.held[next(iter(self.held))]

    def hand(self, ref: str) -> Any:
        """Returns the future of a carry that this actor holds."""
        return self.actor.hand.remote(ref)

    def doubt(self, seconds: float) -> bool:
        """Notes that the actor cannot be reached and is to be asked whether it lives; False after `seconds` of that."""
        now = clock.monotonic()
        self.asked = now if self.asked is None else self.asked
        self.call, self.ask_at = None, now + 0.3
        return now - self.asked < seconds

    def ask(self) -> None:
        """Asks an actor that is in doubt whether it lives, when it is time to."""
        if self.asked is not None and self.call is None and clock.monotonic() >= self.ask_at:
            self.call = self.actor.lives.remote()

    def end(self) -> None:
        """Kills the actor, whatever it does."""
        ray.kill(self.actor, no_restart=True)
