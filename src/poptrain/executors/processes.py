"""Processes: members train in worker processes of this machine, a task on a slot at a time.

A member that goes on stays in memory where it trained last, if that worker is free; what is fewer than the members time-shares.
A worker that dies is replaced, and its task tried again; a step that hangs is ended. Results are those of `inline`, bit for
bit, under equal thread counts (BLAS and XLA may sum in another order under others).
"""

from __future__ import annotations

import atexit
import math
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from poptrain.core import Result, Task, clock
from poptrain.core.cpus import cpus
from poptrain.core.errors import PoptrainError, UsageError
from poptrain.executors.context import Context
from poptrain.executors.importable import check_importable, check_main
from poptrain.executors.pool import LOOK, Order, Pool
from poptrain.trainable import as_trainable

# What the numeric libraries read when they are imported; PJRT_NPROC is JAX on the CPU.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
THREADS += ("PJRT_NPROC",)


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
        if gpus and self.slots is None:
            raise UsageError(f"Processes: gpus_per_slot={gpus!r} needs slots: say how many workers share this machine's GPUs.")
        for slot in range(self.slots or 0):
            environment(self, slot, self.slots)

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
    threads = config.threads or max(1, cpus() // slots)
    changes: dict[str, str | None] = {name: str(threads) for name in THREADS if config.threads is not None or name not in before}
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
    """The side of the run: queues tasks and hands on results. A thread, `Pool`, speaks to the workers.

    So an interrupt, which can strike between any two instructions of the main thread, never loses a message half read.
    """

    def __init__(self, config: Processes, context: Context):
        self._context = context
        self._done: deque[Result] = deque()
        self._handed: list[Result] = []  # by the last `wait`; an interrupt may have kept it from the run
        self._news: SimpleQueue[None] = SimpleQueue()
        self._waiting = 0
        slots = max(1, min(config.slots or cpus(), context.lanes))
        environments = [environment(config, slot, slots) for slot in range(slots)]
        self._pool = Pool(context, environments, config.timeout, config.retries, self._done, self._news)
        self._pool.start()
        atexit.register(self.close)

    def submit(self, tasks: Sequence[Task]) -> None:
        self._waiting += len(tasks)
        self._pool.take_in([Order(task, self._context.start(task)) for task in tasks])

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
