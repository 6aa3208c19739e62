"""Which tasks an executor gets now: not those of a member that fails again and again while others train."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from poptrain.core import Result, Task
from poptrain.core.causes import diverged
from poptrain.core.counting import counted
from poptrain.core.protocols import Executor
from poptrain.engine.watch import Watch

PATIENCE = 3  # failures in a row after which the next task of a seat waits for a healthy result of another one
FUTILE = 25  # failures of a seat, on average, without any healthy result between them, after which a run ends
FUTILE_AT_LEAST = 100  # failures


class Supply:
    """Passes tasks on to an executor.

    A seat that has failed `PATIENCE` times in a row gets its next task when another seat delivers, or when nothing else runs. The
    decisions are logged as always; only their start is delayed. So a member that fails at once cannot fill the log while the
    others train.
    """

    def __init__(self, executor: Executor, seats: int, watch: Watch, metric: str):
        self._executor, self._watch, self._metric = executor, watch, metric
        self._limit = max(FUTILE_AT_LEAST, FUTILE * seats)
        self._failures: dict[int, int] = {}  # seat -> failures in a row
        self._waiting: list[Task] = []
        self._running = 0
        self.futile = 0  # failures since the last healthy result
        self.first_error: str | None = None  # the first of them

    def submit(self, tasks: Iterable[Task]) -> None:
        """Passes tasks on, now or later."""
        ready: list[Task] = []
        for task in tasks:
            patient = self._failures.get(task.member, 0) >= PATIENCE
            (self._waiting if patient else ready).append(task)
        self._pass_on(ready)
        if not self._running:
            self._release()

    def returned(self, results: Sequence[Result]) -> None:
        """Takes the results of tasks, which the executor no longer has."""
        self._watch.ended(results)
        self._running -= len(results)

    def told(self, tasks: Sequence[Task], results: Sequence[Result]) -> None:
        """Takes the results of tasks, as they are logged."""
        for task, result in zip(tasks, results, strict=True):
            if result.healthy:
                self._failures.pop(task.member, None)
                self.futile, self.first_error = 0, None
            elif result.kind != "ended":
                self._failures[task.member] = self._failures.get(task.member, 0) + 1
                self.futile += 1
                self.first_error = self.first_error or result.error or diverged(self._metric, result.score)
        if any(result.healthy for result in results):
            self._release()

    def exhausted(self) -> str | None:
        """Returns why the run ends, if too many tasks have failed without a healthy result between them."""
        if self.futile < self._limit:
            return None
        return (
            f"{counted(self.futile, 'task')} in a row failed, with no healthy result between them; the first: {self.first_error}"
        )

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._pass_on(waiting)

    def _pass_on(self, tasks: Sequence[Task]) -> None:
        if tasks:
            self._watch.begun(tasks)
            self._executor.submit(tasks)
            self._running += len(tasks)
