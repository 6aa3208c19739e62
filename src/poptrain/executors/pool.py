"""The workers of `Processes`, and the thread that talks to them: it assigns tasks, and replaces workers that die or hang."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from multiprocessing import connection
from queue import SimpleQueue
from typing import Any

from poptrain.checkpoints.store import DiskStore
from poptrain.core import Result, clock
from poptrain.core.errors import PoptrainError
from poptrain.executors import outcome
from poptrain.executors.context import Context
from poptrain.executors.handle import Worker, answer
from poptrain.executors.importable import sendable
from poptrain.executors.messages import Fatal, WorkerSetup
from poptrain.executors.orders import Backlog, Order, Outbox
from poptrain.executors.output import Output

END_GRACE = 1.0  # seconds that a worker has to end by itself before it is killed
LIVENESS_POLL = 1.0  # seconds between fallback checks that the workers are alive
MOST_READS = 64  # of one worker's output in a row, so that a flood does not keep the thread from the other workers


class Pool:
    """Sends queued tasks to idle workers, first in, first out, and replaces workers that die or hang.

    Args:
        environments: one a worker: the variables that differ from this process's; None removes a variable.
        timeout: seconds that a task may take, or None.
        retries: how often in a row a task may lose its worker.
        outbox: takes the results, oldest first.
        news: receives a None whenever there is something to look at.
    """

    def __init__(
        self,
        context: Context,
        environments: Sequence[Mapping[str, str | None]],
        timeout: float | None,
        retries: int,
        outbox: Outbox,
        news: SimpleQueue[None],
    ):
        self.error: BaseException | None = None  # why no more results come
        self._context, self._environments, self._timeout, self._retries = context, environments, timeout, retries
        self._outbox, self._news = outbox, news
        store = context.store if isinstance(context.store, DiskStore) else None
        warm = context.warm(len(environments))
        self._setup = WorkerSetup(sendable(context.trainable), context.metric, store, warm, context.static)
        self._workers: list[Worker] = []
        self._inbox: deque[Order] = deque()  # filled by the main thread
        self._backlog: Backlog[Order] = Backlog()
        self._home: dict[int, tuple[int, Worker]] = {}  # member -> its last task, and the worker that has it in memory
        self._output = Output(context.outputs)
        self._idle_deaths = 0  # workers that died without a task since the last result
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
        if self._thread.is_alive():  # it hangs on a worker that was stopped in the middle of a message
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
        """Sends the tasks that can be sent, then waits for something to happen and handles it."""
        while self._inbox:
            self._backlog.append(self._inbox.popleft())
        if self._draining:
            self._backlog.clear()
        self._assign()
        sources: dict[Any, Worker | None] = {self._bell: None}  # connections, and sentinels of processes
        for worker in self._workers:
            sources[worker.connection] = sources[worker.process.sentinel] = worker
            if worker.output is not None:
                sources[worker.output] = worker
        touched = dict.fromkeys(sources[source] for source in connection.wait(list(sources), self._pause()))
        if None in touched:
            while self._bell.poll():
                self._bell.recv_bytes()
        now = clock.monotonic()
        for worker in list(self._workers):
            here = True
            if worker in touched:
                self._keep_output(worker)
                here = self._read(worker)
            if not here or not worker.alive:
                self._replace(worker)
            elif worker.order is not None and self._timeout is not None and now - worker.since > self._timeout:
                worker.ask_to_end()
                self._replace(worker, late=True)

    def _assign(self) -> None:
        """Sends the longest waiting tasks to the idle workers; each to the one that has its member in memory, if that is idle."""
        idle = [worker for worker in self._workers if worker.ready and worker.order is None]
        if not idle or not self._backlog:
            return
        elsewhere = []
        for order in self._backlog.due(len(idle)):
            self._backlog.remove(order)
            last, home = self._home.get(order.task.member, (None, None))
            if home in idle and last is not None and last == order.task.parent:
                idle.remove(home)
                home.send_order(order)
            else:
                elsewhere.append(order)
        for order in elsewhere:
            idle.pop(0).send_order(order)

    def _pause(self) -> float:
        """Returns for how many seconds nothing has to be done unless something happens."""
        times, limit = self._backlog.times(), self._timeout
        if limit is not None:
            times += [worker.since + limit for worker in self._workers if worker.order is not None]
        now = clock.monotonic()
        return max(0.0, min([LIVENESS_POLL, *(time - now for time in times)]))

    def _read(self, worker: Worker) -> bool:
        """Handles all that a worker has sent; returns False at the end of its pipe."""
        try:
            while worker.connection.poll():
                self._handle(worker, worker.connection.recv())
        except (EOFError, OSError):
            return False
        return True

    def _handle(self, worker: Worker, message: tuple[object, ...]) -> None:
        match message:
            case ("hello",):
                worker.send_setup()
            case ("ready",):
                worker.ready = self._lived = True
            case ("result", Result() as result):
                self._deliver(worker, result)
            case ("traceback", str(name), str(text)):
                outcome.keep_if_possible(self._context.keep_error, name, text)
            case ("store", str(method), tuple(args), dict(kwargs)):
                worker.send(answer(self._context.store, method, args, kwargs))
            case ("fatal", Fatal() as fatal):
                self.error, worker.order = fatal.error(), None

    def _deliver(self, worker: Worker, result: Result) -> None:
        order = worker.order
        if order is None or order.task.id != result.task:
            return  # a late result: its task was sent to another worker
        self._keep_output(worker)
        if result.checkpoint is not None:
            self._home[order.task.member] = (order.task.id, worker)
        self._idle_deaths = 0
        self._outbox.put(result)
        worker.order = None
        self._news.put(None)

    # -- deaths -------------------------------------------------------------------------------------------------------

    def _started(self, slot: int) -> Worker:
        return Worker(slot, self._setup, self._environments[slot], self._context.outputs is not None)

    def _replace(self, worker: Worker, late: bool = False) -> None:
        """Ends a worker that died or is late, takes what it still delivered, starts another, and decides about its task."""
        worker.end(END_GRACE)
        self._read(worker)
        self._keep_output(worker)
        self._decide(worker, worker.order, late)
        worker.order = None
        worker.release()
        if not self._draining and self.error is None:
            self._workers[self._workers.index(worker)] = self._started(worker.slot)
        else:
            self._workers.remove(worker)
        self._news.put(None)

    def _decide(self, worker: Worker, order: Order | None, late: bool) -> None:
        """Decides about the task of a worker that is lost: it is tried again, or has failed."""
        if order is None:  # the worker was idle, or delivered at the last moment
            if not late:
                self._count_idle_death(worker)
        elif late:
            self._fail(worker, order, order.late(self._timeout or 0.0))
        elif self._draining:
            pass
        elif order.survives(self._retries):
            self._backlog.retry(order, self._context.name)
        else:
            self._fail(worker, order, order.lost_for_good(worker.fate()))

    def _fail(self, worker: Worker, order: Order, why: str) -> None:
        outputs = self._context.outputs
        hint = f"\nIts output is in {outputs.name}/{_output_name(order)}.log." if outputs else ""
        seconds = clock.monotonic() - worker.since
        keep = self._context.keep_error
        self._deliver(worker, outcome.abandoned(order.task, order.start.step, why, keep, seconds=seconds, hint=hint))

    def _count_idle_death(self, worker: Worker) -> None:
        """Gives up when workers die before they are sent a task: at once, if the first ones end by themselves."""
        self._idle_deaths += 1
        by_itself = (worker.process.exitcode or 0) >= 0
        if (by_itself and not self._lived) or self._idle_deaths > self._retries * len(self._environments):
            self.error = self.error or PoptrainError(
                f"a worker process {worker.fate()} before it was sent a task; its output says why. If the worker ran the script "
                "again, put what the script does under `if __name__ == '__main__':`."
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

    def _keep_output(self, worker: Worker) -> None:
        """Keeps what a worker has printed so far, under the name of the member that it trains."""
        for _ in range(MOST_READS):
            if not (data := worker.printed()):
                return
            order = worker.order
            if order is None:
                self._output.write(f"worker{worker.slot:02d}", data)
            else:
                self._output.write(_output_name(order), data, _heading(order))


def _output_name(order: Order) -> str:
    return f"m{order.task.member:03d}"


def _heading(order: Order) -> str:
    again = f", attempt {order.attempt}" if order.attempt > 1 else ""
    return f"task {order.task.id}, from step {order.start.step}{again}"
