"""The workers of `Processes` and the thread that speaks to them: who does which task, and what follows when a worker dies."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import connection
from queue import SimpleQueue
from typing import Any

from poptrain.checkpoints.store import Store
from poptrain.core import Result, Task, clock
from poptrain.core.errors import PoptrainError
from poptrain.executors.context import Context, Start
from poptrain.executors.output import Output
from poptrain.executors.worker import Setup, Worker, answer

END_GRACE = 2.0  # seconds that a worker has to end by itself before it is killed
LOOK = 1.0  # seconds after which a worker is looked at, should its death have gone unnoticed


@dataclass(eq=False, slots=True)
class Order:
    """A task on its way."""

    task: Task
    start: Start
    attempt: int = 1
    after: float = 0.0  # not before this time

    @property
    def prints(self) -> str:
        return f"m{self.task.member:03d}"

    @property
    def heading(self) -> str:
        return f"task {self.task.id}, from step {self.start.step}" + (f", attempt {self.attempt}" if self.attempt > 1 else "")


class Pool:
    """Gives queued tasks to free workers, first in, first out, and replaces workers that die or hang.

    Args:
        environments: of the worker on each slot: what is changed in this process's; None removes a variable.
        timeout: seconds that a task may take, or None.
        retries: how often in a row a task may lose its worker.
        done: where results are put, oldest first.
        news: gets a None whenever there is something to look at.
    """

    def __init__(
        self,
        context: Context,
        environments: Sequence[Mapping[str, str | None]],
        timeout: float | None,
        retries: int,
        done: deque[Result],
        news: SimpleQueue[None],
    ):
        self.error: BaseException | None = None  # why no more results come
        self._context, self._environments, self._timeout, self._retries = context, environments, timeout, retries
        self._done, self._news = done, news
        store = context.store if isinstance(context.store, Store) else None
        warm = -(-context.lanes // len(environments))  # the members that each worker trains, if they are spread evenly
        self._setup = Setup(context.trainable, context.metric, store, warm, context.static)
        self._workers: list[Worker] = []
        self._inbox: deque[Order] = deque()  # filled by the main thread
        self._queue: deque[Order] = deque()
        self._home: dict[int, tuple[int, Worker]] = {}  # member -> its last task, and the worker that has it warm
        self._output = Output(context.outputs)
        self._barren = 0  # workers that died without a task since the last result
        self._lived = False  # some worker was ready once
        self._draining = self._closing = False
        self._bell, self._ring = connection.Pipe(duplex=False)
        self._thread = threading.Thread(target=self._run, name="poptrain-processes", daemon=True)

    def start(self) -> None:
        self._thread.start()

    # -- called by the main thread ------------------------------------------------------------------------------------

    def take_in(self, orders: list[Order]) -> None:
        self._inbox.extend(orders)
        self._wake()

    def drain(self) -> None:
        self._draining = True
        self._wake()

    def busy(self) -> bool:
        return self._thread.is_alive() and any(worker.order is not None for worker in list(self._workers))

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._wake()
        self._thread.join(2 * END_GRACE + 5.0)
        if self._thread.is_alive():  # it hangs on a worker that was stopped in mid-message
            for worker in list(self._workers):
                worker.end(0.0)
        else:
            self._bell.close()
            self._ring.close()

    def _wake(self) -> None:
        if not self._ring.closed:
            self._ring.send_bytes(b".")

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            for slot in range(len(self._environments)):
                self._workers.append(self._started(slot))
            while not self._closing and self.error is None:
                self._turn()
        except BaseException as error:
            self.error = self.error or error
        finally:
            self._end_all()
            self._news.put(None)

    def _turn(self) -> None:
        """Hands out what can be, then waits for something to happen and deals with it."""
        while self._inbox:
            self._queue.append(self._inbox.popleft())
        if self._draining:
            self._queue.clear()
        self._assign()
        sources: dict[Any, Worker | None] = {self._bell: None}
        for worker in self._workers:
            sources[worker.connection] = sources[worker.process.sentinel] = worker
            if worker.output is not None:
                sources[worker.output] = worker
        touched = dict.fromkeys(sources[source] for source in connection.wait(list(sources), self._patience()))
        if None in touched:
            while self._bell.poll():
                self._bell.recv_bytes()
        now = clock.monotonic()
        for worker in list(self._workers):
            here = True
            if worker in touched:
                self._print(worker)
                here = self._read(worker)
            if not here or not worker.alive:
                self._bury(worker)
            elif worker.order is not None and self._timeout is not None and now - worker.since > self._timeout:
                worker.ask_to_end()
                self._bury(worker, late=True)

    def _assign(self) -> None:
        """Gives the longest waiting tasks to the idle workers; each to the one that has its member warm, if that is idle."""
        idle = [worker for worker in self._workers if worker.ready and worker.order is None]
        if not idle or not self._queue:
            return
        now = clock.monotonic()
        due: list[Order] = []
        for order in self._queue:
            if order.after <= now:
                due.append(order)
                if len(due) == len(idle):
                    break
        elsewhere = []
        for order in due:
            self._queue.remove(order)
            last, home = self._home.get(order.task.member, (None, None))
            if last is not None and last == order.task.parent and home in idle:
                idle.remove(home)
                home.give(order, order.task, order.start)
            else:
                elsewhere.append(order)
        for order in elsewhere:
            idle.pop(0).give(order, order.task, order.start)

    def _patience(self) -> float:
        """Returns how long nothing need be done unless something happens."""
        now, limit = clock.monotonic(), self._timeout
        times = [order.after for order in self._queue if order.after > now]
        if limit is not None:
            times += [worker.since + limit for worker in self._workers if worker.order is not None]
        return max(0.0, min([LOOK, *(time - now for time in times)]))

    def _read(self, worker: Worker) -> bool:
        """Deals with all that a worker has sent; returns False at the end of its pipe."""
        try:
            while worker.connection.poll():
                self._message(worker, *worker.connection.recv())
        except (EOFError, OSError):
            return False
        return True

    def _message(self, worker: Worker, word: str, *rest: Any) -> None:
        if word == "hello":
            worker.give_setup()
        elif word == "ready":
            worker.ready = self._lived = True
        elif word == "result":
            self._deliver(worker, *rest)
        elif word == "traceback":
            with suppress(OSError, PoptrainError):  # a full disk is the log's to report
                self._context.keep_error(*rest)
        elif word == "store":
            worker.send(answer(self._context.store, *rest))
        elif word == "error":
            kind, text, exit_code = rest
            self.error, worker.order = kind(text), None
            self.error.exit_code = exit_code

    def _deliver(self, worker: Worker, result: Result) -> None:
        order = worker.order
        if order is None or order.task.id != result.task:
            return  # a late result: its task was given to another worker
        self._print(worker)
        if result.checkpoint is not None:
            self._home[order.task.member] = (order.task.id, worker)
        self._barren = 0
        self._done.append(result)
        worker.order = None
        self._news.put(None)

    # -- deaths -------------------------------------------------------------------------------------------------------

    def _started(self, slot: int) -> Worker:
        return Worker(slot, self._setup, self._environments[slot], self._context.outputs is not None)

    def _bury(self, worker: Worker, late: bool = False) -> None:
        """Ends a worker that died or is late, takes what it still delivered, starts another, and decides about its task."""
        worker.end(END_GRACE)
        self._read(worker)
        self._print(worker)
        fate, order = worker.fate(), worker.order
        if order is None:  # it was idle, or delivered at the last moment
            if not late:
                self._count_barren(worker, fate)
        elif late:
            where = f"member {order.task.member}, from step {order.start.step}"
            self._fail(worker, f"{where}: no result within {self._timeout:g} s (timeout); killed")
        elif self._draining:
            pass
        elif order.attempt >= self._retries:
            times = f", {order.attempt} times in a row" if order.attempt > 1 else ""
            where = f"while training from step {order.start.step}"
            self._fail(worker, f"worker of member {order.task.member} {fate} {where}, without a result{times}")
        else:
            order.attempt += 1
            order.after = clock.monotonic() + min(1.0, 0.05 * 4 ** (order.attempt - 1))
            order.start = replace(order.start, name=self._context.name(order.task, order.attempt))
            self._queue.appendleft(order)
        worker.order = None
        worker.release()
        if not self._draining and self.error is None:
            self._workers[self._workers.index(worker)] = self._started(worker.slot)
        else:
            self._workers.remove(worker)
        self._news.put(None)

    def _fail(self, worker: Worker, why: str) -> None:
        task, start = worker.order.task, worker.order.start
        hparams = ", ".join(f"{key}={value!r}" for key, value in task.hparams.items())
        output = f"\nIts output is in {self._context.outputs.name}/{worker.order.prints}.log." if self._context.outputs else ""
        with suppress(OSError, PoptrainError):
            self._context.keep_error(f"m{task.member:03d}-t{task.id:06d}.txt", f"{why}\n{hparams}{output}\n")
        self._deliver(worker, Result(task.id, math.nan, start.step, error=why, seconds=clock.monotonic() - worker.since))

    def _count_barren(self, worker: Worker, fate: str) -> None:
        """Gives up when workers die before they are given a task: at once if the first ones end by themselves."""
        self._barren += 1
        by_itself = (worker.process.exitcode or 0) >= 0
        if (by_itself and not self._lived) or self._barren > self._retries * len(self._environments):
            self.error = self.error or PoptrainError(
                f"a worker process {fate} before it was given a task; what it printed says why. If it started the program over, "
                "put what that does under `if __name__ == '__main__':`."
            )

    def _end_all(self) -> None:
        for worker in self._workers:
            worker.ask_to_end()
        until = clock.monotonic() + END_GRACE
        for worker in self._workers:
            worker.end(until - clock.monotonic())
            worker.order = None
            worker.release()
        self._workers = []

    # -- output -------------------------------------------------------------------------------------------------------

    def _print(self, worker: Worker) -> None:
        """Keeps what a worker has printed so far, under the name of the member that it trains."""
        for _ in range(64):  # a flood is read in turns
            if not (data := worker.printed()):
                return
            order = worker.order
            name, heading = (f"worker{worker.slot:02d}", "") if order is None else (order.prints, order.heading)
            self._output.write(name, data, heading)
