"""What follows when an actor is lost or takes too long: its tasks are tried again, or have failed, or the run ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from poptrain.core import Result, clock
from poptrain.core.counting import counted
from poptrain.core.errors import PoptrainError, UsageError
from poptrain.executors import outcome
from poptrain.executors.context import Context
from poptrain.executors.orders import Backlog
from poptrain.executors.ray import cluster
from poptrain.executors.ray.crew import Crew
from poptrain.executors.ray.fate import Fate, Loss, fate
from poptrain.executors.ray.options import RayOptions
from poptrain.executors.ray.slot import ActorOrder, Slot

DOUBT_SECONDS = 60.0  # in which Ray finds out what became of a worker that cannot be reached
MOST_MOVES = 10  # number of lost nodes after which the task counts as the cause
MEMORY_PAUSE = 1.0  # seconds after which the memory of a killed worker is free again


class Losses:
    """Deals with lost actors.

    Args:
        backlog: where tasks that are tried again are put, at the head.
        answer: takes the results of tasks that have failed.
    """

    def __init__(
        self,
        options: RayOptions,
        context: Context,
        crew: Crew,
        backlog: Backlog[ActorOrder],
        answer: Callable[[Result], None],
    ):
        self._options, self._context, self._crew, self._backlog, self._answer = options, context, crew, backlog, answer
        self.idle_deaths = 0  # actors that died without a task since the last result

    def end_late(self) -> None:
        """Ends the actors whose tasks take longer than they may."""
        limit, now = self._options.timeout, clock.monotonic()
        for slot in list(self._crew.slots):
            if limit is None or not slot.orders or now - slot.since <= limit:
                continue
            orders = slot.orders
            self._crew.drop(slot)
            if len(orders) > 1:  # it is not known which of them took so long
                self._retry(orders, single=True)
            else:
                self._fail(orders[0], orders[0].late(limit))
                self._crew.grow()

    def failed_call(self, slot: Slot, error: BaseException) -> None:
        """Deals with a call that brought an error instead of a result."""
        what = fate(error, slot.id, self._crew.on_a_living_node(slot))
        if what.loss is Loss.UNKNOWN and slot.doubt(DOUBT_SECONDS):
            return
        self.lose(slot, what)

    def lose(self, slot: Slot, what: Fate) -> None:
        """Drops an actor, unless it is well, and decides about the tasks that it was sent."""
        orders = slot.orders
        if what.loss is Loss.CLUSTER:
            raise cluster.cluster_lost(what.text)
        if what.loss is Loss.SETUP or (slot.about is None and what.loss is Loss.CODE):
            missing = "; send the code along: `ray job submit --working-dir .`" if "ModuleNotFoundError" in what.text else ""
            raise UsageError(f"Ray: a worker could not be set up: {what.text.rstrip('.')}{missing}.")
        if what.loss in (Loss.GIFT, Loss.CODE):  # the worker is well
            slot.orders, slot.call, slot.held = (), None, {}  # what it has in memory was not reported
        else:
            self._crew.drop(slot)
        if what.loss is Loss.MEMORY:  # Ray ends several workers at once, and does not report yet that an idle neighbour is dead
            for neighbour in [other for other in self._crew.slots if other.free and other.node == slot.node]:
                self._crew.drop(neighbour)
        if not orders:
            self._count_idle_death(what)
        elif what.loss is Loss.GIFT:
            self._retry(orders, gifts=False)
        elif what.loss is Loss.NODE and all(order.moves < MOST_MOVES for order in orders):
            self._retry(orders, moves=1)
        elif len(orders) > 1:
            self._retry(orders, single=True)
        else:
            self._charge(orders[0], what)
        self._crew.grow()

    def _charge(self, order: ActorOrder, what: Fate) -> None:
        """Decides about a task that lost its worker alone: it is tried again, or has failed."""
        if what.loss is Loss.CODE:
            self._fail(order, f"while training from step {order.start.step}: {what.text}")
        elif what.loss is Loss.MEMORY:
            order.shortages += 1
            if order.shortages > 1:
                self._fail(order, f"{order.lost(what.text)}, although it was alone there")
            else:
                order.after = clock.monotonic() + MEMORY_PAUSE
                self._retry([order], alone=True)
        elif order.survives(self._options.retries):
            self._retry([order])
        else:
            self._fail(order, order.lost_for_good(what.text))

    def _retry(
        self,
        orders: Sequence[ActorOrder],
        *,
        moves: int = 0,
        single: bool = False,
        alone: bool = False,
        gifts: bool = True,
    ) -> None:
        """Puts tasks back to the head of the backlog, as new attempts; what they have shown once stays known."""
        if self._crew.draining:
            return
        name = self._context.group if self._options.vectorized else self._context.name
        for order in reversed(orders):
            order.moves += moves
            order.single |= single
            order.alone |= alone
            order.gifts &= gifts
            self._backlog.retry(order, name)
        self._crew.grow()

    def _fail(self, order: ActorOrder, why: str) -> None:
        self._answer(outcome.abandoned(order.task, order.start.step, why, self._context.keep_error))

    def _count_idle_death(self, what: Fate) -> None:
        """Gives up when actors die again and again before they are sent a task."""
        if what.loss is Loss.NODE:
            return
        self.idle_deaths += 1
        if self.idle_deaths > self._options.retries * self._crew.wanted():
            raise PoptrainError(f"Ray: {counted(self.idle_deaths, 'worker')} in a row {what.text} before they were sent a task.")
