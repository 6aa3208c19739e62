"""The worker: an actor that trains the members it is given. It is killed, never restarted; nothing in it must last."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import ray

from poptrain.checkpoints.store import Store
from poptrain.core import Result, Task, clock
from poptrain.core.errors import PoptrainError, UsageError
from poptrain.executors.adapters import form_of
from poptrain.executors.context import Start
from poptrain.executors.inline import Members
from poptrain.executors.ray.relay import Parcel, Parcels, Shared
from poptrain.executors.worker import as_message

LAG = 5.0  # seconds after which a network file system shows a file that another node has just written


class Setup(NamedTuple):
    """What every actor is given once."""

    trainable: Any
    metric: str
    store: Store | None  # None: checkpoints travel with results
    probe: tuple[PurePath, bytes] | None  # a file beside the checkpoints, and what it holds
    warm: int  # the most member states that it keeps
    static: tuple[str, ...]  # names of static hyperparameters
    lanes: int  # of a population; 0: members one after another
    memory_share: float  # of a GPU, for JAX; 0: all


class Ready(NamedTuple):
    """What an actor that can be given tasks says of itself."""

    node: str
    pid: int
    version: str


class Delivery(NamedTuple):
    """What became of the tasks of one call."""

    results: Sequence[Result]
    parcels: Sequence[Parcel] = ()
    tracebacks: Sequence[tuple[str, str]] = ()
    error: tuple[str, type, str, int] | None = None  # what ends the run, as `as_message` says it


class Trainer:
    """One actor. Its methods are called one after another.

    Args:
        paths: where the driver finds modules; the trainable's own may be there.
    """

    def __init__(self, paths: Sequence[str]):
        sys.path += [path for path in paths if path not in sys.path and os.path.isdir(path)]

    def prepare(self, setup: Setup) -> Ready | tuple[str, type, str, int]:
        """Gets ready for tasks; returns what is wrong if it cannot."""
        import poptrain

        if setup.memory_share:  # JAX would claim 0.75 of the GPU in each actor
            os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 * setup.memory_share:.3f}")
        self._tracebacks: list[tuple[str, str]] = []
        try:
            if setup.probe is not None:
                _check_shared(setup.store.fs, *setup.probe)
            self._relay: Any = Parcels() if setup.store is None else Shared(setup.store, setup.warm)
            self._crew = _crew(setup, self._relay, lambda name, text: self._tracebacks.append((name, text)))
        except PoptrainError as error:
            return as_message(error)
        return Ready(ray.get_runtime_context().get_node_id(), os.getpid(), poptrain.__version__)

    def perform(self, orders: Sequence[tuple[Task, Start]], refs: Sequence[str] = (), *carries: Any) -> Delivery:
        """Returns what became of the tasks. `carries` are what the checkpoints `refs` hold, where that came along."""
        relay, results, error = self._relay, [], None
        relay.given = {ref: carry for ref, carry in zip(refs, carries, strict=True) if carry is not None}
        for task, start in orders:  # before anybody trains on: a clone of a member that lives here is not read from disk
            relay.take(start.parent, task.member)
            relay.take(start.teacher, task.member)
        for task, _ in orders:
            relay.forget(task.member)
        try:
            for result in self._crew(orders):
                results.append(result)
        except PoptrainError as failure:
            error = as_message(failure)
        parcels, tracebacks = relay.parcels, self._tracebacks[:]
        relay.given, relay.parcels, self._tracebacks[:] = {}, [], []
        relay.tidy()
        return Delivery(results, parcels, tracebacks, error)

    def lives(self) -> bool:
        """Returns True."""
        return True

    def hand(self, ref: str) -> Any:
        """Returns the carry of a checkpoint for another actor; None if it is not in this one's memory any more."""
        return self._relay.handed(ref)


Crew = Callable[[Sequence[tuple[Task, Start]]], Iterator[Result]]


def _crew(setup: Setup, relay: Any, keep_error: Callable[[str, str], None]) -> Crew:
    """Returns the function that performs tasks: members one after another, or all in one program."""
    if setup.lanes:
        from poptrain.executors.ray.population import Population  # JAX is imported only by those who use it

        return Population(setup, relay, keep_error).perform
    members = Members(form_of(setup.trainable, setup.static), setup.metric, relay, keep_error, setup.warm)
    return lambda orders: (members.perform(task, start) for task, start in orders)


def _check_shared(fs: Any, path: PurePath, content: bytes) -> None:
    """Raises a `UsageError` unless this node sees the driver's file: in the run directory, or at the URL of its checkpoints."""
    until = clock.monotonic() + LAG
    while True:
        try:
            if fs.read(path) == content:
                return
        except OSError:
            pass
        except PoptrainError as error:
            raise UsageError(f"Ray: node {ray.util.get_node_ip_address()}: {error}") from error
        if clock.monotonic() >= until:
            break
        clock.sleep(0.2)
    raise UsageError(
        f"Ray: node {ray.util.get_node_ip_address()} does not see {fs.shown(path.parent.parent)}, where the checkpoints of this "
        "run are: keep the run on a file system that every node mounts, give a URL (checkpoints=…), or use Ray(carrier='driver')."
    )
