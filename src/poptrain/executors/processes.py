"""Processes: members train in worker processes of this machine, one task on a slot at a time.

A member that goes on stays in memory where it trained last, if that worker is free. More members than slots take turns. A
worker that dies is replaced, and its task is tried again; a step that hangs is ended. Results equal those of `inline` bit
for bit if the thread counts are equal (BLAS and XLA may sum in another order with other counts).
"""

from __future__ import annotations

import atexit
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from poptrain.core import Result, Task
from poptrain.core.answering import answering_class
from poptrain.core.arguments import is_finite
from poptrain.core.counting import counted
from poptrain.core.cpus import cpus
from poptrain.core.errors import UsageError
from poptrain.core.wellformed import MAX_SEATS
from poptrain.executors.context import Context
from poptrain.executors.importable import check_main, sendable
from poptrain.executors.orders import Order, Outbox
from poptrain.executors.pool import LIVENESS_POLL, Pool
from poptrain.trainable import as_trainable

THREAD_VARIABLES = (  # that the numeric libraries read when they are imported
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "PJRT_NPROC",  # JAX on the CPU
)


@answering_class
@dataclass(frozen=True)
class Processes:
    """Trains members in worker processes, `slots` at a time.

    Args:
        slots: worker processes; None: one for each CPU. There are never more than members.
        gpus_per_slot: GPUs that each worker sees, through the visible-devices variables; below 1, slots share one
            (0.5: two slots share a GPU); 0 does not change which GPUs are visible.
        threads: of the numeric libraries in each worker; None: the number of CPUs divided by the number of slots.
        timeout: seconds that a task may take, including loading, compiling and saving; a task that takes longer is ended and
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
            if not (value is None and name != "retries") and (type(value) is not int or not 1 <= value <= MAX_SEATS):
                raise UsageError(f"Processes: {name}={value!r:.60}, expected a whole number from 1 to {MAX_SEATS:,}.")
        gpus, limit = self.gpus_per_slot, self.timeout
        if type(gpus) not in (int, float) or not 0 <= gpus < math.inf or (gpus > 1 and gpus != int(gpus)):
            raise UsageError(f"Processes: gpus_per_slot={gpus!r}, expected a whole number, or a share of one GPU such as 0.5.")
        if limit is not None and (not is_finite(limit) or not limit > 0):
            raise UsageError(f"Processes: timeout={limit!r:.60}, expected more than 0 seconds, or None for no limit.")
        if gpus and self.slots is None:
            raise UsageError(f"Processes: gpus_per_slot={gpus!r} needs slots=n, the number of workers that share the GPUs.")
        slots = self.slots or 0
        for slot in range(slots if gpus else min(slots, 1)):  # without GPUs, all slots are alike
            environment(self, slot, slots)

    def check(self, trainable: object) -> None:
        """Raises a `UsageError` if worker processes cannot be started here, or cannot be sent the trainable."""
        check_main()
        sendable(as_trainable(trainable))

    def open(self, context: Context) -> ProcessesExecutor:
        """Returns the running executor, while its workers are being started."""
        return ProcessesExecutor(self, context)


def environment(config: Processes, slot: int, slots: int, before: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """Returns the variables that the worker on `slot` of `slots` is started with; None removes one.

    Raises:
        UsageError: fewer devices are visible than the slots need.
    """
    threads = str(config.threads or max(1, cpus() // slots))
    chosen = config.threads is not None
    changes: dict[str, str | None] = {name: threads for name in THREAD_VARIABLES if chosen or name not in before}
    gpus = config.gpus_per_slot
    if not gpus:
        return changes
    first, count = (slot // int(1 / gpus), 1) if gpus < 1 else (slot * int(gpus), int(gpus))
    rocr = "ROCR_VISIBLE_DEVICES" in before  # it renumbers the devices that the other two count: only one of the layers is set
    for name in ("ROCR_VISIBLE_DEVICES",) if rocr else ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        changes[name] = ",".join(_devices(name, before.get(name), first, count, config, slots))
    if gpus < 1 and "XLA_PYTHON_CLIENT_MEM_FRACTION" not in before:
        changes["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * gpus:.3f}"  # JAX would claim 0.75 of the GPU in each worker
    return changes


def _devices(name: str, visible: str | None, first: int, count: int, config: Processes, slots: int) -> list[str]:
    """Returns the devices of one slot: `count` of the visible ones, from number `first` on."""
    if visible is None:
        return [str(first + index) for index in range(count)]
    devices = [device for device in visible.split(",") if device.strip()][first : first + count]
    if len(devices) < count:
        raise UsageError(
            f"Processes: gpus_per_slot={config.gpus_per_slot!r} for {counted(slots, 'slot')} needs {first + count} GPUs, but "
            f"{name}={visible!r}: lower slots or gpus_per_slot."
        )
    return devices


class ProcessesExecutor:
    """The run's side: queues tasks and passes results on. A thread, `Pool`, talks to the workers.

    So an interrupt, which can strike between any two instructions of the main thread, never loses a message half read.
    """

    def __init__(self, config: Processes, context: Context):
        self._context = context
        self._outbox = Outbox(context.result)
        self._news: SimpleQueue[None] = SimpleQueue()
        slots = max(1, min(config.slots or cpus(), context.lanes))
        environments = [environment(config, slot, slots) for slot in range(slots)]
        self._pool = Pool(context, environments, config.timeout, config.retries, self._outbox, self._news)
        self._pool.start()
        atexit.register(self.close)

    def submit(self, tasks: Sequence[Task]) -> None:
        self._outbox.expect(len(tasks))
        self._pool.take_in([Order(task, self._context.start(task)) for task in tasks])

    def wait(self) -> list[Result]:
        while not self._outbox:
            if self._pool.error is not None:
                raise self._pool.error
            self._outbox.check_expected()
            self._wait_for_news(LIVENESS_POLL)  # not for ever: a signal may have woken another thread
        return self._outbox.take()

    def drain(self, seconds: float) -> Iterator[list[Result]]:
        """Yields the results of running tasks that finish within `seconds`; queued tasks are dropped."""
        self._pool.drain()
        return self._outbox.drain(seconds, self._pool.busy, self._wait_for_news)

    def close(self) -> None:
        """Ends the workers, also in the middle of their tasks, within a few seconds."""
        atexit.unregister(self.close)
        self._pool.close()

    def _wait_for_news(self, seconds: float) -> None:
        with suppress(Empty):
            self._news.get(timeout=min(LIVENESS_POLL, seconds))
