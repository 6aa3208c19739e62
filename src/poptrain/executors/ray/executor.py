"""The driver's side of `Ray`: it sends tasks to actors, and passes their results on.

There is no thread: everything happens inside `submit` and `wait`. Calls that are running are remembered by their futures,
so an interrupt that strikes anywhere loses nothing: what arrived is fetched again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import ray

from poptrain.checkpoints.store import DiskStore
from poptrain.core import Result, Task, clock
from poptrain.core.errors import UsageError
from poptrain.executors import outcome
from poptrain.executors.context import Context
from poptrain.executors.messages import Fatal
from poptrain.executors.orders import Backlog, Outbox
from poptrain.executors.ray import cluster
from poptrain.executors.ray.cargo import Cargo
from poptrain.executors.ray.crew import CLUSTER_POLL, Crew
from poptrain.executors.ray.fate import Fate, Loss
from poptrain.executors.ray.losses import Losses
from poptrain.executors.ray.messages import ActorSetup, Delivery, Ready
from poptrain.executors.ray.options import RayOptions
from poptrain.executors.ray.plan import plan
from poptrain.executors.ray.probe import DiskProbe, remove_probe, write_probe
from poptrain.executors.ray.relay import store_parcel
from poptrain.executors.ray.slot import ActorOrder, Slot

CALL_SECONDS = 0.02  # short tasks are sent several in a call that takes about this long
NEWEST_WEIGHT = 0.2  # of the newest task in the running mean of the seconds that a task takes


class RayExecutor:
    """Queues tasks, sends them to actors and passes results on."""

    def __init__(self, options: RayOptions, context: Context):
        self._options, self._context = options, context
        self._backlog: Backlog[ActorOrder] = Backlog()
        self._outbox = Outbox(context.result)
        self._open: set[int] = set()  # tasks without a result
        self._seconds: float | None = None  # that a task takes, lately
        self._closed = False
        store = context.store
        self._shared = store if isinstance(store, DiskStore) and options.carrier == "shared" else None  # the actors use it too
        self._probe: DiskProbe | None = None
        self._cargo = Cargo(context, options.vectorized, by_driver=self._shared is None)
        self._joined = cluster.join(options.address, options.options)
        try:
            may_grow = not (self._joined and options.address == "local")
            self._crew = Crew(options, context.lanes, may_grow)
        except BaseException:
            self._leave()
            raise
        self._losses = Losses(options, context, self._crew, self._backlog, self._answer)
        self._warm = context.warm(self._crew.wanted())
        try:
            self._crew.hire(ray.put(self._setup()))
        except BaseException:
            self.close()
            raise

    # -- called by the run --------------------------------------------------------------------------------------------

    def submit(self, tasks: Sequence[Task]) -> None:
        context = self._context
        self._outbox.expect(len(tasks))
        for task in tasks:
            start = context.start(task)
            self._open.add(task.id)
            self._backlog.append(
                ActorOrder(task, replace(start, name=context.group(task)) if self._options.vectorized else start)
            )
        self._assign()

    def wait(self) -> list[Result]:
        while not self._outbox:
            self._outbox.check_expected()
            self._turn(self._pause())
        self._assign()
        return self._outbox.take()

    def drain(self, seconds: float) -> Iterator[list[Result]]:
        """Yields the results of running tasks that finish within `seconds`; queued tasks are dropped."""
        self._crew.draining = True
        self._backlog.clear()
        return self._outbox.drain(seconds, self._busy, lambda left: self._turn(min(self._pause(), left)))

    def close(self) -> None:
        """Ends the actors, also in the middle of their tasks, and the connection if this executor made it."""
        if self._closed:
            return
        self._closed = True
        self._crew.end()
        if self._probe is not None and self._shared is not None:
            remove_probe(self._probe, self._shared)
        self._leave()

    def _leave(self) -> None:
        if self._joined:
            cluster.leave()

    def _busy(self) -> bool:
        return any(slot.orders for slot in self._crew.slots)

    def _setup(self) -> ActorSetup:
        options, context = self._options, self._context
        if self._shared is not None:
            self._probe = write_probe(self._shared)
        return ActorSetup(
            trainable=context.trainable,
            metric=context.metric,
            store=self._shared,
            probe=self._probe,
            warm=self._warm,
            static=context.static,
            lanes=context.lanes if options.vectorized else 0,
            memory_share=options.gpus if options.gpus < 1 else 0.0,
        )

    # -- one turn -----------------------------------------------------------------------------------------------------

    def _turn(self, seconds: float) -> None:
        """Sends the tasks that can be sent, then waits for something to happen and handles it."""
        self._crew.look()
        self._assign()
        for slot in self._crew.slots:
            slot.ask()
        calls = {slot.call: slot for slot in self._crew.slots if slot.call is not None}
        if not calls:
            clock.sleep(seconds)
            return
        try:
            ready, _ = cluster.interruptible(ray.wait, list(calls), num_returns=1, timeout=seconds)
            if ready and len(calls) > 1:
                ready, _ = cluster.interruptible(ray.wait, list(calls), num_returns=len(calls), timeout=0)
        except ray.exceptions.RayError as error:
            raise cluster.cluster_lost(error) from error
        for call in ready:
            self._receive(calls[call])
        self._losses.end_late()

    def _pause(self) -> float:
        """Returns for how many seconds nothing has to be done unless something happens."""
        limit, slots = self._options.timeout, self._crew.slots
        times = self._backlog.times()
        times += [slot.ask_at for slot in slots if slot.asked is not None and slot.call is None]
        if limit is not None:
            times += [slot.since + limit for slot in slots if slot.orders]
        now = clock.monotonic()
        return max(0.0, min([CLUSTER_POLL, *(time - now for time in times)]))

    def _assign(self) -> None:
        """Sends the longest waiting tasks to free actors; a task whose checkpoint is damaged is answered here."""
        if not self._backlog:
            return
        due, slots = self._backlog.due(), self._crew.slots
        planned = plan(due, slots, self._most(len(due)))
        if not planned:
            return
        idle = {slot for slot in slots if slot.free}
        loaded = [(slot, orders, *self._cargo.load(slot, orders, idle)) for slot, orders in planned]
        for slot, orders, carries, damaged in loaded:
            for order in orders:
                self._backlog.remove(order)
            for order, error in damaged:
                self._answer(outcome.damaged(order.task, order.start.step, error))
            left = [order for order in orders if order.task.id in self._open]
            if left:
                slot.send(left, carries)

    def _most(self, due: int) -> int:
        """Returns how many tasks one call may hold: a population's share, or as many as take `CALL_SECONDS`."""
        slots = len(self._crew.slots)
        share = -(-due // slots) if slots else 1
        if self._options.vectorized:
            return share
        return 1 if self._seconds is None else max(1, min(share, int(CALL_SECONDS / max(self._seconds, 1e-4))))

    # -- what comes back ----------------------------------------------------------------------------------------------

    def _receive(self, slot: Slot) -> None:
        try:
            value = cluster.interruptible(ray.get, slot.call)
        except ray.exceptions.RayError as error:
            self._losses.failed_call(slot, error)
            return
        if slot.asked is not None:  # it is alive, but whether it did its tasks is not known: another actor does them again
            self._losses.lose(slot, Fate(Loss.WORKER, "could not be reached"))
        elif isinstance(value, Delivery):
            self._deliver(slot, value)
        elif isinstance(value, Fatal):
            raise value.error()
        else:
            slot.about, slot.call = value, None
            _check_version(value)

    def _deliver(self, slot: Slot, delivery: Delivery) -> None:
        for name, text in delivery.tracebacks:
            outcome.keep_if_possible(self._context.keep_error, name, text)
        for parcel in delivery.parcels:
            if parcel.name not in slot.stored:  # after an interrupt half way, the same delivery is taken in again
                slot.stored[parcel.name] = store_parcel(parcel, self._context.store)
        stored = {ref.partition(":")[0]: ref for refs in slot.stored.values() for ref in refs}
        for result in delivery.results:
            if result.checkpoint is not None:
                if stored:
                    result = replace(result, checkpoint=stored[result.checkpoint.partition(":")[0]])
                mean = result.seconds if self._seconds is None else self._seconds
                self._seconds = (1 - NEWEST_WEIGHT) * mean + NEWEST_WEIGHT * result.seconds
            self._answer(result)
        slot.orders, slot.call, slot.held, self._losses.idle_deaths = (), None, dict(delivery.held), 0
        if delivery.error is not None:
            raise delivery.error.error()
        if slot.leaving:
            self._crew.drop(slot)
            self._crew.grow()

    def _answer(self, result: Result) -> None:
        """Puts one result where `wait` finds it; a second answer to the same task is dropped."""
        if result.task in self._open:
            self._open.remove(result.task)
            self._outbox.put(result)


def _check_version(about: Ready) -> None:
    import poptrain

    if about.version != poptrain.__version__:
        raise UsageError(
            f"Ray: a worker has poptrain {about.version}, the driver has {poptrain.__version__}: install the same version on all "
            "nodes."
        )
