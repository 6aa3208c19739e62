"""Which waiting task goes to which free actor: a pure function of what the driver knows."""

from __future__ import annotations

from collections.abc import Sequence

from poptrain.executors.ray.slot import ActorOrder, Slot


def plan(due: Sequence[ActorOrder], slots: Sequence[Slot], most: int) -> list[tuple[Slot, list[ActorOrder]]]:
    """Returns the orders that each free actor is sent: the longest waiting ones, each to the actor that has its member in memory.

    Args:
        due: the waiting orders, first in, first out.
        most: how many orders one call may hold.
    """
    free = [slot for slot in slots if slot.free]
    if not free or not due:
        return []
    given: dict[Slot, list[ActorOrder]] = {}
    reserved = {slot.node for slot in slots if any(order.alone for order in slot.orders)}
    lonely = next((order for order in due if order.alone), None)
    if lonely is not None and not reserved:
        busy = [slot.node for slot in slots if slot.orders]
        host = min(free, key=lambda slot: busy.count(slot.node))
        reserved.add(host.node)  # if it is busy, it is emptied first
        if host.node not in busy:
            given[host] = [lonely]
    free = [slot for slot in free if slot.node not in reserved]
    room = {slot: most for slot in free}
    first = [order for order in due if not order.alone][: most * len(free)]
    elsewhere = []
    for order in first:
        home = next((slot for slot in free if at_home(order, slot)), None)
        if home is None or not _put(order, home, room, given, most):
            elsewhere.append(order)
    for order in elsewhere:
        slot = max(free, key=room.__getitem__)
        if not _put(order, slot, room, given, most):
            break  # no order overtakes another
    return [(slot, sorted(orders, key=lambda order: not at_home(order, slot))) for slot, orders in given.items()]


def at_home(order: ActorOrder, slot: Slot) -> bool:
    """True if the actor has in memory the state that the task continues."""
    parent = order.task.parent
    return parent is not None and slot.held.get(order.task.member) == parent


def _put(order: ActorOrder, slot: Slot, room: dict[Slot, int], given: dict[Slot, list[ActorOrder]], most: int) -> bool:
    if not room[slot] or (order.single and room[slot] < most):
        return False
    given.setdefault(slot, []).append(order)
    room[slot] = 0 if order.single else room[slot] - 1
    return True
