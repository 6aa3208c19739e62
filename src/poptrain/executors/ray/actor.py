"""The worker: an actor that trains the members that it is sent. It is killed, never restarted; nothing in it must last."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import ray

from poptrain.core import Carry, Result, Task
from poptrain.core.errors import PoptrainError
from poptrain.executors.adapters import form_of
from poptrain.executors.context import KeepError, Start
from poptrain.executors.members import Members
from poptrain.executors.messages import Fatal
from poptrain.executors.ray.messages import ActorSetup, Delivery, Ready
from poptrain.executors.ray.probe import check_probe
from poptrain.executors.ray.relay import Relay, SharedStore, StoreInParcels

Orders = Sequence[tuple[Task, Start]]


class Performer(Protocol):
    """What trains the members of an actor: one after another, or all in one program."""

    def perform(self, orders: Orders) -> Iterator[Result]:
        """Yields the results of tasks."""
        ...

    def held(self) -> dict[int, int]:
        """Returns the members whose states are in memory, each with the task that left it."""
        ...


class TrainingActor:
    """One actor. Its methods are called one after another.

    Args:
        paths: where the driver finds modules; the trainable's own module may be there.
    """

    def __init__(self, paths: Sequence[str]):
        sys.path += [path for path in paths if path not in sys.path and os.path.isdir(path)]

    def prepare(self, setup: ActorSetup) -> Ready | Fatal:
        """Gets ready for tasks; returns the error if it cannot."""
        import poptrain

        # Ray's own handler raises SystemExit in the middle of a step. The member would have failed by that, as if its code had
        # raised it, although the worker was ended from outside.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
        if setup.memory_share:  # JAX would claim 0.75 of the GPU in each actor
            os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 * setup.memory_share:.3f}")
        self._tracebacks: list[tuple[str, str]] = []
        try:
            if setup.probe is not None and setup.store is not None:
                check_probe(setup.probe, setup.store.fs)
            self._relay: Relay = StoreInParcels() if setup.store is None else SharedStore(setup.store, setup.warm)
            self._performer = _performer(setup, self._relay, lambda name, text: self._tracebacks.append((name, text)))
        except PoptrainError as error:
            return Fatal.of(error)
        return Ready(ray.get_runtime_context().get_node_id(), os.getpid(), poptrain.__version__)

    def perform(self, orders: Orders, refs: Sequence[str] = (), *carries: Carry) -> Delivery:
        """Returns what became of the tasks.

        Args:
            refs: checkpoints that came along with the tasks.
            carries: what they hold, in the same order; None where the actor that should have had it no longer did.
        """
        relay, error = self._relay, None
        results: list[Result] = []
        relay.given = {ref: carry for ref, carry in zip(refs, carries, strict=True) if carry is not None}
        for task, start in orders:  # before any member trains on, so that a clone of a member in this actor reads no disk
            relay.take(start.parent, task.member)
            relay.take(start.teacher, task.member)
        for task, _ in orders:
            relay.forget(task.member)
        try:
            for result in self._performer.perform(orders):
                results.append(result)
        except PoptrainError as failure:
            error = Fatal.of(failure)
        parcels, tracebacks = relay.parcels, self._tracebacks[:]
        relay.given, relay.parcels, self._tracebacks[:] = {}, [], []
        relay.tidy()
        return Delivery(results, self._performer.held(), parcels, tracebacks, error)

    def lives(self) -> bool:
        """Returns True."""
        return True

    def hand(self, ref: str) -> Carry | None:
        """Returns the carry of a checkpoint for another actor; None if this one no longer has it in memory."""
        return self._relay.handed(ref)


def _performer(setup: ActorSetup, relay: Relay, keep_error: KeepError) -> Performer:
    if setup.lanes:
        from poptrain.executors.ray.population import ActorPopulation  # JAX is imported only by those who use it

        return ActorPopulation(setup, relay, keep_error)
    form = form_of(setup.trainable, setup.static, metric=setup.metric)
    return _OneByOne(Members(form, setup.metric, relay, keep_error, setup.warm))


class _OneByOne:
    """Trains members one after another."""

    def __init__(self, members: Members[Any]):
        self._members = members

    def perform(self, orders: Orders) -> Iterator[Result]:
        return (self._members.perform(task, start) for task, start in orders)

    def held(self) -> dict[int, int]:
        return self._members.held()
