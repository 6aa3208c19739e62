"""A worker process as the driver sees it: started, sent messages, read, and ended. `worker` is what runs in it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection

from poptrain.core import clock
from poptrain.executors.context import MemberStore
from poptrain.executors.messages import WorkerSetup
from poptrain.executors.orders import Order
from poptrain.executors.worker import STOP_SIGNALS, worker_main

STORE_METHODS = ("commit", "stage", "commit_staged", "read", "path")  # that a worker may call through the pipe
_SPAWN = multiprocessing.get_context("spawn")
_ENVIRONMENT = threading.Lock()


class Worker:
    """A worker process as the driver sees it. `order` is the task that it is busy with, `since` when that was sent."""

    def __init__(self, slot: int, setup: WorkerSetup, environment: Mapping[str, str | None], captured: bool):
        self.slot, self._setup = slot, setup
        self.ready = False
        self.order: Order | None = None
        self.since = 0.0
        self.connection, theirs = _SPAWN.Pipe()
        self.output: Connection | None = None
        writer: Connection | None = None
        if captured:
            self.output, writer = _SPAWN.Pipe(duplex=False)
        self.process = _SPAWN.Process(target=worker_main, args=(theirs, writer), name=f"poptrain-{slot}", daemon=False)
        try:
            with changed_environment(environment), quiet_start():
                self.process.start()
        except BaseException:
            self._close()
            raise
        finally:
            theirs.close()
            if writer is not None:
                writer.close()
        if self.output is not None:
            os.set_blocking(self.output.fileno(), False)

    def send_setup(self) -> None:
        self.send(self._setup)

    def send_order(self, order: Order) -> None:
        """Sends a task to a worker that is ready and idle."""
        self.order, self.since = order, clock.monotonic()
        self.send((order.task, order.start))

    def send(self, message: object) -> None:
        with suppress(ConnectionError):  # the worker is dead: the pool notices all deaths in one place
            self.connection.send(message)

    def printed(self) -> bytes:
        """Returns what the worker has printed since the last call, at most 64 KiB; empty if there is nothing."""
        if self.output is None:
            return b""
        with suppress(BlockingIOError):
            if not (data := os.read(self.output.fileno(), 1 << 16)):
                self.output.close()  # the member closed its end, or is dead
                self.output = None
            return data
        return b""

    @property
    def alive(self) -> bool:
        return self.process.exitcode is None

    def ask_to_end(self) -> None:
        """Asks the worker to end, also in the middle of a task."""
        self.send(None)
        self._signal(signal.SIGTERM)

    def end(self, grace: float) -> None:
        """Ends the process, and all that it has started: by itself within `grace` seconds, else by force."""
        self.process.join(max(grace, 0.0))
        self._signal(signal.SIGKILL)
        self.process.join(5.0)

    def release(self) -> None:
        """Closes the pipes of a dead worker, and removes its entry in the process table."""
        self._close()
        with suppress(ValueError):  # the process is stuck in the kernel and cannot be killed: nothing more can be done
            self.process.close()

    def fate(self) -> str:
        """Returns how the process ended, for messages."""
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"exited with code {code}"
        with suppress(ValueError):
            name = signal.Signals(-code).name
            return f"was ended by signal {-code} ({name}{': out of memory?' if name == 'SIGKILL' else ''})"
        return f"was ended by signal {-code}"

    def _signal(self, number: int) -> None:
        pid = self.process.pid
        if pid is None:
            return
        try:
            os.killpg(pid, number)  # a group of its own, from the moment that `worker_main` begins
        except (ProcessLookupError, PermissionError):
            if self.alive:
                os.kill(pid, number)

    def _close(self) -> None:
        self.connection.close()
        if self.output is not None:
            self.output.close()


def answer(store: MemberStore, method: str, args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[bool, object]:
    """Returns the driver's answer to a call of its store: (True, value) or (False, exception)."""
    if method not in STORE_METHODS:
        raise ValueError(f"a worker called {method!r} of the store, expected one of {', '.join(STORE_METHODS)}")
    try:
        return True, getattr(store, method)(*args, **kwargs)
    except Exception as error:
        return False, error


@contextmanager
def changed_environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Changes this process's environment while a child that inherits it is started; None removes a variable."""
    with _ENVIRONMENT:
        before = {name: os.environ.get(name) for name in changes}
        _set_environment(changes)
        try:
            yield
        finally:
            _set_environment(before)


@contextmanager
def quiet_start() -> Iterator[None]:
    """Holds back the signals of a process that is started in the block, until it calls `worker.unblock_signals`.

    Else a Ctrl-C while it imports prints a traceback of every worker.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # when it starts this process's own tracker, multiprocessing unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {getattr(signal, name) for name in STOP_SIGNALS})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
