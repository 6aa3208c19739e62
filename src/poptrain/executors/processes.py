"""Processes: members train in worker processes of this machine, a task on a slot at a time.

A member that goes on stays in memory where it trained last, if that worker is free; what is fewer than the members time-shares.
A worker that dies is replaced, and its task tried again; a step that hangs is ended. Results are those of `inline`, bit for
bit, under equal thread counts (BLAS and XLA may sum in another order under others).
"""

from __future__ import annotations

import atexit
import math
import os
import pickle
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import connection
from queue import Empty, SimpleQueue
from typing import Any

from poptrain import clock
from poptrain.checkpoints import Store
from poptrain.core import Result, Task
from poptrain.errors import PoptrainError, UsageError
from poptrain.executors.context import Context, Start
from poptrain.executors.importable import check_importable, check_main
from poptrain.executors.worker import Prints, Setup, Worker, answer
from poptrain.trainable import as_trainable

END_GRACE = 2.0  # seconds that a worker has to end by itself before it is killed
LOOK = 1.0  # seconds after which a worker is looked at, should its death have gone unnoticed
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "PJRT_NPROC")


@dataclass(frozen=True)
class Processes:
    """Trains members in worker processes, `slots` at a time.

    Args:
        slots: worker processes; None: one per CPU. There are never more than members.
        gpus_per_slot: GPUs that each worker sees, through the visible-devices variables; below 1, slots share one
            (0.5: two slots a GPU); 0 leaves what is visible alone.
        threads: of the numeric libraries in each worker; None: the CPUs divided by the slots.
        timeout: seconds that a task may take, loading, compiling and saving included; a task that takes longer is ended and
            has failed. None: no limit.
        retries: how often in a row a task may lose its worker before it has failed.
    """

    slots: int | None = None
    gpus_per_slot: float = 0
    threads: int | None = None
    timeout: float | None = None
    retries: int = 3

    def __post_init__(self) -> None:
        for name in ("slots", "threads", "retries"):
            value = getattr(self, name)
            if not (value is None and name != "retries") and (type(value) is not int or value < 1):
                raise UsageError(f"Processes: {name}={value!r}, expected a whole number from 1.")
        gpus, limit = self.gpus_per_slot, self.timeout
        if type(gpus) not in (int, float) or not 0 <= gpus < math.inf or (gpus > 1 and gpus != int(gpus)):
            raise UsageError(f"Processes: gpus_per_slot={gpus!r}, expected a whole number from 0, or a share such as 0.5.")
        if limit is not None and (type(limit) not in (int, float) or not 0 < limit < math.inf):
            raise UsageError(f"Processes: timeout={limit!r}, expected seconds above 0, or None for no limit.")
        for slot in range(self.slots or 1):
            environment(self, slot, self.slots or 1)

    def check(self, trainable: Any) -> None:
        """Raises a `UsageError` if worker processes cannot be started here, or cannot import the trainable."""
        check_main()
        check_importable(as_trainable(trainable))

    def open(self, context: Context) -> ProcessesExecutor:
        """Returns the running executor: its workers are being started."""
        return ProcessesExecutor(self, context)


def environment(config: Processes, slot: int, slots: int, before: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """Returns the variables that the worker on `slot` is started with; None removes one.

    Raises:
        UsageError: the visible devices are too few.
    """
    threads = config.threads or max(1, _cpus() // slots)
    changes: dict[str, str | None] = {
        name: str(threads) for name in THREADS if config.threads is not None or name not in before
    }
    gpus = config.gpus_per_slot
    if not gpus:
        return changes
    first, count = (slot // int(1 / gpus), 1) if gpus < 1 else (slot * int(gpus), int(gpus))
    rocr = "ROCR_VISIBLE_DEVICES" in before  # it renumbers what the other two count: set one of the two layers only
    for name in ("ROCR_VISIBLE_DEVICES",) if rocr else ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        devices = [str(first + index) for index in range(count)]
        if (visible := before.get(name)) is not None:
            listed = [device for device in visible.split(",") if device.strip()]
            devices = listed[first : first + count]
            if len(devices) < count:
                raise UsageError(
                    f"Processes: gpus_per_slot={gpus!r} for {slots} slots needs {first + count} GPUs, but {name}={visible!r}: "
                    "lower slots or gpus_per_slot."
                )
        changes[name] = ",".join(devices)
    if gpus < 1 and "XLA_PYTHON_CLIENT_MEM_FRACTION" not in before:
        changes["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * gpus:.3f}"  # JAX would claim 0.75 of the GPU in each worker
    return changes


class ProcessesExecutor:
    """The side of the run: queues tasks and hands on results. A thread of its own, `_Pool`, speaks to the workers.

    So an interrupt, which can strike between any two instructions of the main thread, never loses a message half read.
    """

    def __init__(self, config: Processes, context: Context):
        self._context = context
        self._done: deque[Result] = deque()
        self._handed: list[Result] = []  # by the last `wait`; an interrupt may have kept it from the run
        self._news: SimpleQueue[None] = SimpleQueue()
        self._waiting = 0
        self._pool = _Pool(config, context, self._done, self._news)
        self._pool.start()
        atexit.register(self.close)

    def submit(self, tasks: Sequence[Task]) -> None:
        self._waiting += len(tasks)
        self._pool.take_in([_Order(task, self._context.start(task)) for task in tasks])

    def wait(self) -> list[Result]:
        while not self._done:
            if self._pool.error is not None:
                raise self._pool.error
            if not self._waiting:
                raise PoptrainError("wait: no task is pending; submit one first.")
            with suppress(Empty):
                self._news.get(timeout=LOOK)  # not for ever: a signal may have woken another thread
        return self._hand_over()

    def drain(self, seconds: float) -> Iterator[list[Result]]:
        """Yields what running tasks deliver within `seconds`; tasks that wait are dropped."""
        self._pool.drain()
        until = clock.monotonic() + seconds
        if handed := [result for result in self._handed if self._context.result(result.task) is None]:
            yield handed
        while True:
            busy = self._pool.busy()  # before the look at what is done: a result comes first, then its worker is free
            known = {result.task for result in self._handed}
            if fresh := [result for result in self._hand_over() if result.task not in known]:
                yield fresh
            if not busy or clock.monotonic() >= until:
                return
            with suppress(Empty):
                self._news.get(timeout=min(LOOK, max(until - clock.monotonic(), 0.0)))

    def close(self) -> None:
        """Ends the workers, also in the middle of their tasks, within a few seconds."""
        atexit.unregister(self.close)
        self._pool.close()

    def _hand_over(self) -> list[Result]:
        handed = [self._done[index] for index in range(len(self._done))]
        self._handed = handed
        for _ in handed:
            self._done.popleft()
        self._waiting -= len(handed)
        return handed


@dataclass(eq=False, slots=True)
class _Order:
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


class _Pool:
    """Gives queued tasks to free workers, first in, first out, and replaces workers that die or hang."""

    def __init__(self, config: Processes, context: Context, done: deque[Result], news: SimpleQueue[None]):
        self.error: BaseException | None = None
        self._config, self._context, self._done, self._news = config, context, done, news
        self._slots = max(1, min(config.slots or _cpus(), context.lanes))
        store = context.store if isinstance(context.store, Store) else None
        warm = -(-context.lanes // self._slots)
        self._setup = pickle.dumps(tuple(Setup(context.trainable, context.metric, store, warm)))
        self._environments = [environment(config, slot, self._slots) for slot in range(self._slots)]
        self._workers: list[Worker] = []
        self._inbox: deque[_Order] = deque()  # filled by the main thread
        self._queue: deque[_Order] = deque()
        self._home: dict[int, tuple[int, Worker]] = {}  # member -> its last task, and the worker that has it warm
        self._prints = Prints(context.outputs)
        self._barren = 0  # workers that died without a task since the last result
        self._lived = False  # some worker was ready once: what kills the first ones would kill all
        self._draining = self._closing = False
        self._bell, self._ring = connection.Pipe(duplex=False)
        self._thread = threading.Thread(target=self._run, name="poptrain-processes", daemon=True)

    def start(self) -> None:
        self._thread.start()

    # -- called by the main thread ------------------------------------------------------------------------------------

    def take_in(self, orders: list[_Order]) -> None:
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
        for worker in self._workers if self._thread.is_alive() else ():  # it hangs on a worker that was stopped in mid-message
            worker.end(0.0)

    def _wake(self) -> None:
        with suppress(OSError):  # the thread has ended
            self._ring.send_bytes(b".")

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            for slot in range(self._slots):
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
            elif worker.order is not None and self._config.timeout is not None and now - worker.since > self._config.timeout:
                worker.ask_to_end()
                self._bury(worker, late=True)

    def _assign(self) -> None:
        """Gives the longest waiting tasks to the idle workers; each to the one that has its member warm, if that is idle."""
        idle = [worker for worker in self._workers if worker.ready and worker.order is None]
        if not idle or not self._queue:
            return
        now = clock.monotonic()
        due: list[_Order] = []
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
        now, limit = clock.monotonic(), self._config.timeout
        times = [order.after for order in self._queue if order.after > now]
        if limit is not None:
            times += [worker.since + limit for worker in self._workers if worker.order is not None]
        return max(0.0, min([LOOK, *(time - now for time in times)]))

    def _read(self, worker: Worker) -> bool:
        """Deals with all that a worker has sent; returns False at the end of its pipe."""
        try:
            while worker.connection.poll():
                self._message(worker, *worker.connection.recv())
        except (EOFError, OSError, pickle.UnpicklingError):
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
            self.error, worker.order = rest[0], None

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
                self._count_barren(fate)
        elif late:
            limit = f"{self._config.timeout:g} s"
            self._fail(worker, f"member {order.task.member}: no result within {limit} (timeout) from step {order.start.step}; killed")
        elif self._draining:
            pass
        elif order.attempt >= self._config.retries:
            times = f", {order.attempt} times in a row" if order.attempt > 1 else ""
            self._fail(
                worker, f"worker of member {order.task.member} {fate} while training from step {order.start.step}, without a result{times}"
            )
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

    def _count_barren(self, fate: str) -> None:
        self._barren += 1
        if not self._lived or self._barren > self._config.retries * self._slots:
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
        self._bell.close()
        self._ring.close()

    # -- output -------------------------------------------------------------------------------------------------------

    def _print(self, worker: Worker) -> None:
        """Keeps what a worker has printed so far, under the name of the member that it trains."""
        for _ in range(64):  # a flood is read in turns
            if not (data := worker.printed()):
                return
            order = worker.order
            name, heading = (f"worker{worker.slot:02d}", "") if order is None else (order.prints, order.heading)
            self._prints.write(name, data, heading)


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
