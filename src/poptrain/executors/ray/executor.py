"""The driver's side of `Ray`: which actor does which task, and what follows when one is lost.

There is no thread: everything happens inside `submit` and `wait`. Calls that are under way are remembered by their
futures, so an interrupt that strikes anywhere loses nothing: what arrived is fetched again.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import ray

from poptrain.checkpoints.store import Store
from poptrain.core import Result, Task, clock
from poptrain.core.errors import CheckpointDamaged, PoptrainError, UsageError
from poptrain.executors import outcome
from poptrain.executors.context import Context
from poptrain.executors.ray import cluster, relay
from poptrain.executors.ray.actor import Delivery, Ready, Setup
from poptrain.executors.ray.crew import LOOK, Crew
from poptrain.executors.ray.fate import Fate, Kind, fate
from poptrain.executors.ray.plan import at_home, plan
from poptrain.executors.ray.slot import Order, Slot

CALL_SECONDS = 0.02  # short tasks are sent several in a call that takes about this long
DOUBT = 60.0  # seconds in which Ray finds out what became of a worker that cannot be reached
MOVES = 10  # how often a task may lose its node before that is taken for its own doing


class RayExecutor:
    """Queues tasks, gives them to actors and hands on results."""

    def __init__(self, config: Any, context: Context):
        self._config, self._context = config, context
        self._queue: deque[Order] = deque()
        self._done: deque[Result] = deque()
        self._handed: list[Result] = []  # by the last `wait`; an interrupt may have kept it from the run
        self._open: dict[int, Order] = {}  # by task: what has no result yet
        self._waiting = 0
        self._seconds: float | None = None  # that a task takes, lately
        self._barren = 0  # actors that died without a task since the last result
        self._draining = self._closed = False
        self._probe: tuple[PurePath, bytes] | None = None  # a file that shows whether a node sees the checkpoints
        self._joined = cluster.join(config.address, config.options)
        try:
            self._crew = Crew(config, context.lanes, may_grow=not (self._joined and config.address == "local"))
            self._crew.hire(ray.put(self._make_setup()))
        except BaseException:
            self.close()
            raise

    # -- called by the run --------------------------------------------------------------------------------------------

    def submit(self, tasks: Sequence[Task]) -> None:
        context = self._context
        self._waiting += len(tasks)
        for task in tasks:
            start = context.start(task)
            order = Order(task, replace(start, name=context.group(task)) if self._config.vectorized else start)
            self._open[task.id] = order
            self._queue.append(order)
        self._assign()

    def wait(self) -> list[Result]:
        while not self._done:
            if not self._waiting:
                raise PoptrainError("wait: no task is pending; submit one first.")
            self._turn(self._pause())
        self._assign()
        return self._hand_over()

    def drain(self, seconds: float) -> Iterator[list[Result]]:
        """Yields what running tasks deliver within `seconds`; tasks that wait are dropped."""
        self._draining = self._crew.draining = True
        self._queue.clear()
        until = clock.monotonic() + seconds
        if handed := [result for result in self._handed if self._context.result(result.task) is None]:
            yield handed
        while any(slot.orders for slot in self._crew.slots) and clock.monotonic() < until:
            self._turn(min(self._pause(), max(until - clock.monotonic(), 0.0)))
            known = {result.task for result in self._handed}
            if fresh := [result for result in self._hand_over() if result.task not in known]:
                yield fresh

    def close(self) -> None:
        """Ends the actors, also in the middle of their tasks, and the connection, if it was made here."""
        if self._closed:
            return
        self._closed = True
        if hasattr(self, "_crew"):
            self._crew.end()
        if self._probe is not None:
            with suppress(OSError, PoptrainError):
                self._context.store.fs.remove(self._probe[0])
        if self._joined:
            cluster.leave()

    def _hand_over(self) -> list[Result]:
        handed = list(self._done)
        self._handed = handed
        for _ in handed:
            self._done.popleft()
        self._waiting -= len(handed)
        return handed

    # -- actors -------------------------------------------------------------------------------------------------------

    def _make_setup(self) -> Setup:
        config, context = self._config, self._context
        shared = isinstance(context.store, Store) and config.carrier == "shared"
        if shared:
            store: Store = context.store
            store.fs.make_dir(store.root)
            self._probe = store.root / f".tmp-probe-{os.urandom(8).hex()}", os.urandom(16)
            store.fs.write_new(*self._probe, sync=False)
        self._warm = -(-context.lanes // self._crew.wanted())  # the members of each, if they are spread evenly
        lanes = context.lanes if config.vectorized else 0
        share = config.gpus if config.gpus < 1 else 0.0
        return Setup(
            context.trainable,
            context.metric,
            context.store if shared else None,
            self._probe,
            self._warm,
            context.static,
            lanes,
            share,
        )

    # -- one turn -----------------------------------------------------------------------------------------------------

    def _turn(self, seconds: float) -> None:
        """Gives out what can be, then waits for something to happen and deals with it."""
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
            raise cluster.gone(error) from error
        for call in ready:
            self._heard(calls[call])
        self._end_late()

    def _pause(self) -> float:
        """Returns how long nothing need be done unless something happens."""
        now, limit = clock.monotonic(), self._config.timeout
        times = [order.after for order in self._queue if order.after > now]
        times += [slot.ask_at for slot in self._crew.slots if slot.asked is not None and slot.call is None]
        if limit is not None:
            times += [slot.since + limit for slot in self._crew.slots if slot.orders]
        return max(0.0, min([LOOK, *(time - now for time in times)]))

    def _assign(self) -> None:
        """Gives the longest waiting tasks to free actors."""
        if not self._queue:
            return
        now = clock.monotonic()
        due = [order for order in self._queue if order.after <= now]
        given = plan(due, self._crew.slots, self._most(len(due)))
        if not given:
            return
        idle = {slot for slot in self._crew.slots if slot.free}
        prepared = [(slot, orders, self._carries(slot, orders, idle)) for slot, orders in given]
        for slot, orders, carries in prepared:
            orders = [order for order in orders if order in self._queue]
            for order in orders:
                self._queue.remove(order)
            if orders:
                slot.give(orders, carries)

    def _most(self, due: int) -> int:
        """Returns how many tasks one call may hold: a population's share, or what takes no longer than `CALL_SECONDS`."""
        share = -(-due // len(self._crew.slots)) if self._crew.slots else 1
        if self._config.vectorized:
            return share
        return 1 if self._seconds is None else max(1, min(share, int(CALL_SECONDS / max(self._seconds, 1e-4))))

    def _carries(self, slot: Slot, orders: Sequence[Order], idle: set[Slot]) -> dict[str, Any]:
        """Returns the carries that go along with tasks, by reference: those that the actor cannot read or would read from
        afar. A task whose checkpoint is damaged is answered here."""
        carries: dict[str, Any] = {}
        by_driver = self._probe is None
        for order in orders:
            task, start = order.task, order.start
            warm = at_home(order, slot) or (self._config.vectorized and task.parent in slot.held.values())
            sources = [(start.teacher, task.teacher), *([] if warm else [(start.parent, task.parent)])]
            for ref, id in sources:
                if ref is None or ref in carries:
                    continue
                if by_driver:
                    try:
                        carries[ref] = relay.fetched(ref, self._context.store)
                    except CheckpointDamaged as error:
                        self._queue.remove(order)
                        self._answer(outcome.damaged(task, start.step, error))
                        break
                elif order.gifts and (holder := self._holder(id, idle)) and holder.node != slot.node:
                    carries[ref] = holder.hand(ref)
        return carries

    def _holder(self, task: int, idle: set[Slot]) -> Slot | None:
        """Returns the idle actor that has the state of a task in memory."""
        return next((slot for slot in idle if task in slot.held.values()), None)

    # -- what comes back ----------------------------------------------------------------------------------------------

    def _heard(self, slot: Slot) -> None:
        try:
            value = cluster.interruptible(ray.get, slot.call)
        except ray.exceptions.RayError as error:
            self._lost(slot, error)
            return
        if (
            slot.asked is not None
        ):  # it lives, but whether it did its tasks is not known: they are done again, and it is not heard any more
            self._lose(slot, Fate(Kind.WORKER, "could not be reached"))
        elif isinstance(value, Delivery):
            self._deliver(slot, value)
        elif isinstance(value, tuple) and value and value[0] == "error":
            _, kind, text, code = value
            error = kind(text)
            error.exit_code = code
            raise error
        else:
            slot.about, slot.call = value, None
            self._check_version(value)

    def _deliver(self, slot: Slot, delivery: Delivery) -> None:
        for name, text in delivery.tracebacks:
            with suppress(OSError, PoptrainError):  # a full disk is the log's to report
                self._context.keep_error(name, text)
        for parcel in delivery.parcels:
            if parcel.name not in slot.stored:  # an interrupt may have struck half way; the delivery is then taken in again
                slot.stored[parcel.name] = relay.store(parcel, self._context.store)
        stored = {ref.partition(":")[0]: ref for refs in slot.stored.values() for ref in refs}
        tasks = {order.task.id: order.task for order in slot.orders}
        for result in delivery.results:
            if result.checkpoint is not None:
                slot.holds(tasks[result.task], self._warm)
                if stored:
                    result = replace(result, checkpoint=stored[result.checkpoint.partition(":")[0]])
                self._seconds = result.seconds if self._seconds is None else 0.8 * self._seconds + 0.2 * result.seconds
            self._answer(result)
        slot.orders, slot.call, self._barren = (), None, 0
        if delivery.error is not None:
            _, kind, text, code = delivery.error
            error = kind(text)
            error.exit_code = code
            raise error
        if slot.leaving:
            self._crew.drop(slot)
            self._crew.grow()

    def _answer(self, result: Result) -> None:
        """Puts one result where `wait` finds it; a second answer to the same task is dropped."""
        if self._open.pop(result.task, None) is not None:
            self._done.append(result)

    def _check_version(self, about: Ready) -> None:
        import poptrain

        if about.version != poptrain.__version__:
            raise UsageError(
                f"Ray: a worker has poptrain {about.version}, the driver {poptrain.__version__}: install the same on all nodes."
            )

    # -- losses -------------------------------------------------------------------------------------------------------

    def _end_late(self) -> None:
        """Ends actors whose tasks take longer than they may."""
        limit, now = self._config.timeout, clock.monotonic()
        for slot in list(self._crew.slots):
            if limit is None or not slot.orders or now - slot.since <= limit:
                continue
            orders = slot.orders
            self._crew.drop(slot)
            if len(orders) > 1:
                self._again(orders, single=True)
                continue
            (order,) = orders
            self._fail(
                order, f"member {order.task.member}, from step {order.start.step}: no result within {limit:g} s (timeout); killed"
            )
            self._crew.grow()

    def _lost(self, slot: Slot, error: BaseException) -> None:
        """Deals with a call that brought an error instead of a result."""
        what = fate(error, slot.id, self._crew.on_a_living_node(slot))
        if what.kind is Kind.UNKNOWN and slot.doubt(DOUBT):
            return
        self._lose(slot, what)

    def _lose(self, slot: Slot, what: Fate) -> None:
        orders = slot.orders
        if what.kind is Kind.CLUSTER:
            raise cluster.gone(what.said)
        if what.kind is Kind.SETUP or (slot.about is None and what.kind is Kind.CODE):
            missing = "; send the code along: `ray job submit --working-dir .`" if "ModuleNotFoundError" in what.said else ""
            raise UsageError(f"Ray: a worker could not be set up: {what.said.rstrip('.')}{missing}.")
        if what.kind in (Kind.GIFT, Kind.CODE):  # the worker is well
            slot.orders, slot.call = (), None
        else:
            self._crew.drop(slot)
        if what.kind is Kind.MEMORY:  # Ray ends several at once: an idle neighbour may be dead, and nobody has heard of it yet
            for neighbour in [other for other in self._crew.slots if other.free and other.node == slot.node]:
                self._crew.drop(neighbour)
        if not orders:
            self._count_barren(what)
        elif what.kind is Kind.GIFT:
            self._again(orders, gifts=False)
        elif what.kind is Kind.NODE and all(order.moves < MOVES for order in orders):
            self._again(orders, moves=1)
        elif len(orders) > 1:
            self._again(orders, single=True)
        else:
            self._charge(orders[0], what)
        self._crew.grow()

    def _charge(self, order: Order, what: Fate) -> None:
        """Lets a task that lost its worker alone try again, or fail."""
        place = f"while training from step {order.start.step}"
        worker = f"worker of member {order.task.member} {what.said} {place}"
        if what.kind is Kind.CODE:
            self._fail(order, f"{place}: {what.said}")
        elif what.kind is Kind.MEMORY:
            order.shortages += 1
            if order.shortages > 1:
                self._fail(order, f"{worker}, although it was alone there")
            else:
                order.after = clock.monotonic() + 1.0  # until the memory is given back
                self._again([order], alone=True)
        else:
            order.deaths += 1
            if order.deaths >= self._config.retries:
                self._fail(
                    order, f"{worker}, without a result" + (f", {order.deaths} times in a row" if order.deaths > 1 else "")
                )
            else:
                order.after = clock.monotonic() + min(1.0, 0.05 * 4**order.deaths)
                self._again([order])

    def _again(self, orders: Sequence[Order], *, moves: int = 0, **marks: bool) -> None:
        """Puts tasks back to the head of the queue, as new attempts."""
        if self._draining:
            return
        for order in reversed(orders):
            order.again(self._context, self._config.vectorized)
            order.moves += moves
            for name, value in marks.items():
                setattr(order, name, value)
            self._queue.appendleft(order)
        self._crew.grow()

    def _fail(self, order: Order, why: str) -> None:
        task = order.task
        hparams = ", ".join(f"{key}={value!r}" for key, value in task.hparams.items())
        with suppress(OSError, PoptrainError):
            self._context.keep_error(f"m{task.member:03d}-t{task.id:06d}.txt", f"{why}\n{hparams}\n")
        self._answer(Result(task.id, math.nan, order.start.step, error=why))

    def _count_barren(self, what: Fate) -> None:
        """Gives up when actors die again and again before they are given a task."""
        if what.kind is Kind.NODE:
            return
        self._barren += 1
        if self._barren > self._config.retries * self._crew.wanted():
            raise PoptrainError(f"Ray: {self._barren} workers in a row {what.said} before they were given a task.")
