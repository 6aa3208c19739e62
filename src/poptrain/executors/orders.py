"""Orders: tasks on their way to workers, and results on their way back. Every executor with workers is built on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from poptrain.core import Result, Task, clock
from poptrain.core.errors import PoptrainError
from poptrain.executors.context import Start

BACK_OFF = (0.2, 1.0)  # seconds before the second attempt, and the most before a later one; each waits 4 times as long


@dataclass(eq=False, slots=True)
class Order:
    """A task on its way to a worker. No two attempts at a task share a checkpoint name, however the first one ended."""

    task: Task
    start: Start
    attempt: int = 1
    deaths: int = 0  # how often it has lost its worker, as far as is known by its own fault
    after: float = 0.0  # it is not sent before this time

    def survives(self, retries: int) -> bool:
        """Counts one more lost worker; False if the task has lost `retries` workers in a row, and has failed."""
        self.deaths += 1
        if self.deaths >= retries:
            return False
        first, most = BACK_OFF
        self.after = clock.monotonic() + min(most, first * 4 ** (self.deaths - 1))
        return True

    def lost(self, what: str) -> str:
        """Returns a sentence on a worker that is lost; `what` says how it ended."""
        return f"worker of member {self.task.member} {what} while training from step {self.start.step}"

    def lost_for_good(self, what: str) -> str:
        """Returns why the task has failed, after too many lost workers."""
        times = f", {self.deaths} times in a row" if self.deaths > 1 else ""
        return f"{self.lost(what)}, without a result{times}"

    def late(self, timeout: float) -> str:
        """Returns why the task has failed, after `timeout` seconds."""
        return f"member {self.task.member}, from step {self.start.step}: no result within {timeout:g} s (timeout); killed"


OrderT = TypeVar("OrderT", bound=Order)


class Backlog(deque[OrderT]):
    """The orders that wait for a worker, first in, first out."""

    def due(self, most: int | None = None) -> list[OrderT]:
        """Returns the orders that may be sent now, oldest first; at most `most` of them."""
        now = clock.monotonic()
        found: list[OrderT] = []
        for order in self:
            if len(found) == most:
                break
            if order.after <= now:
                found.append(order)
        return found

    def times(self) -> list[float]:
        """Returns when the orders that may not be sent yet become due."""
        now = clock.monotonic()
        return [order.after for order in self if order.after > now]

    def retry(self, order: OrderT, name: Callable[[Task, int], str]) -> None:
        """Puts an order back to the head, as a new attempt; ``name(task, attempt)`` returns the name of its checkpoint."""
        order.attempt += 1
        order.start = replace(order.start, name=name(order.task, order.attempt))
        self.appendleft(order)


class Outbox:
    """The results that the run has not taken yet.

    An interrupt may strike the main thread between any two instructions. So results are first copied, then removed, and
    `drain` yields again what the last `take` may have failed to pass on.

    Args:
        logged: returns the result of a task that the run has logged, else None.
    """

    def __init__(self, logged: Callable[[int], Result | None]):
        self._logged = logged
        self._results: deque[Result] = deque()
        self._taken: list[Result] = []  # by the last `take`
        self._expected = 0

    def __bool__(self) -> bool:
        return bool(self._results)

    def expect(self, tasks: int) -> None:
        """Counts tasks that will have a result."""
        self._expected += tasks

    def put(self, result: Result) -> None:
        """Adds a result; any thread may call it."""
        self._results.append(result)

    def check_expected(self) -> None:
        """Raises a `PoptrainError` if no task is pending: waiting would never end."""
        if not self._expected:
            raise PoptrainError("wait: no task is pending; submit one first.")

    def take(self) -> list[Result]:
        """Returns the results that have come, and removes them."""
        taken = [self._results[index] for index in range(len(self._results))]
        self._taken = taken
        for _ in taken:
            self._results.popleft()
        self._expected -= len(taken)
        return taken

    def drain(self, seconds: float, busy: Callable[[], bool], wait: Callable[[float], None]) -> Iterator[list[Result]]:
        """Yields the results that come within `seconds`, while ``busy()``; ``wait(s)`` waits for news, at most s seconds."""
        until = clock.monotonic() + seconds
        if missed := [result for result in self._taken if self._logged(result.task) is None]:
            yield missed
        while True:
            working = busy()  # asked before the results are taken: a worker puts its result there before it is idle
            known = {result.task for result in self._taken}
            if fresh := [result for result in self.take() if result.task not in known]:
                yield fresh
            left = until - clock.monotonic()
            if not working or left <= 0:
                return
            wait(left)
