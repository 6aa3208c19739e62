"""A worker process, from both sides: `main` runs in it, `Worker` is the driver's handle on it.

They talk over one private pipe. The driver sends the setup once (pickled; functions travel by name), then one
``(task, start)`` at a time, and None to end. The worker sends tuples that begin with a word:

    hello                       it lives, and waits for the setup
    ready                       it has imported the trainable, and waits for a task
    result, Result              of the task that it was given; its checkpoint is durable
    error, class, text, code    a `PoptrainError` that ends the run
    traceback, name, text       to be kept among the run's errors
    store, method, args, kw     a call of the driver's store, when that is in memory; answered by (ok, value)

A worker dies with its driver: by the kernel's parent-death signal on Linux, elsewhere when the pipe closes. It sits in a
process group of its own, so that Ctrl-C reaches the driver alone and a worker's own children die with it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from poptrain.checkpoints import carry as carries
from poptrain.core import Carry, Task, clock
from poptrain.core.errors import PoptrainError, UsageError
from poptrain.executors.adapters import form_of
from poptrain.executors.context import Start
from poptrain.executors.inline import Members

_SPAWN = multiprocessing.get_context("spawn")
_ENVIRONMENT = threading.Lock()
_ASKS = ("SIGINT", "SIGTERM", "SIGHUP")  # what a terminal or a batch system sends to every process of a job


class Setup(NamedTuple):
    """What a worker is given once."""

    trainable: Any
    metric: str
    store: Any  # None: the driver's own, through the pipe
    warm: int  # the most member states that it keeps
    static: tuple[str, ...] = ()  # names of static hyperparameters


# -- in the worker ----------------------------------------------------------------------------------------------------


class Ended(BaseException):
    """The driver ended this worker in the middle of a task."""


def main(connection: Connection, output: Connection | None) -> None:
    """Performs tasks until the driver says None, ends this process, or dies."""
    _die_with_the_driver()
    with suppress(OSError, AttributeError):
        os.setpgid(0, 0)
    if output is not None:
        _redirect(output)
    _leave_signals_to_the_driver(connection)
    with suppress(EOFError, ConnectionError, Ended):
        connection.send(("hello",))
        members = _set_up(connection)
        if members is not None:
            _serve(connection, members)
    _flush()


def _set_up(connection: Connection) -> Members | None:
    try:
        setup = connection.recv()
        store = Wire(connection) if setup.store is None else setup.store
        keep_error = lambda name, text: connection.send(("traceback", name, text))
        members = Members(form_of(setup.trainable, setup.static), setup.metric, store, keep_error, setup.warm)
    except (EOFError, ConnectionError):
        raise
    except PoptrainError as error:
        connection.send(as_message(error))
        return None
    except (Exception, SystemExit) as error:
        text = f"a worker process could not import the trainable: {type(error).__name__}: {error}."
        connection.send(as_message(UsageError(text)))
        return None
    connection.send(("ready",))
    return members


def _serve(connection: Connection, members: Members) -> None:
    while (order := connection.recv()) is not None:
        try:
            message = ("result", members.perform(*order))
        except PoptrainError as error:
            message = as_message(error)
        _flush()
        connection.send(message)


class Wire:
    """The driver's store, called through the pipe: for a run without a directory."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def commit(self, name: str, carry: Carry, **about: int) -> str:
        return self._call("commit", name, carries.copy(carry), **about)

    def stage(self, name: str) -> Path:
        return self._call("stage", name)

    def commit_staged(self, name: str, **about: int) -> str:
        return self._call("commit_staged", name, **about)

    def read(self, ref: str) -> Carry:
        return self._call("read", ref)

    def path(self, ref: str) -> Path:
        return self._call("path", ref)

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        self._connection.send(("store", method, args, kwargs))
        answer = self._connection.recv()
        if answer is None:
            raise Ended
        ok, value = answer
        if not ok:
            raise value
        return value


def answer(store: Any, method: str, args: tuple, kwargs: dict[str, Any]) -> tuple[bool, Any]:
    """Returns the driver's answer to a call of its store: (True, value) or (False, exception)."""
    if method not in ("commit", "stage", "commit_staged", "read", "path"):
        raise ValueError(f"a worker called {method!r} of the store")
    try:
        return True, getattr(store, method)(*args, **kwargs)
    except Exception as error:
        return False, error


def as_message(error: PoptrainError) -> tuple[str, type, str, int]:
    """Returns the message that makes the driver raise the same error: its nearest class in `poptrain.core.errors`, its text."""
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == PoptrainError.__module__)
    return "error", kind, str(error), error.exit_code


def _die_with_the_driver() -> None:
    driver = multiprocessing.parent_process().pid
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        if os.getppid() != driver:
            os._exit(1)  # it died before the line above


def _leave_signals_to_the_driver(connection: Connection) -> None:
    """Makes a signal end a task only if the driver has said so in the pipe: a batch system signals every process of a
    job, and a member shall then finish what it does. Not SIG_IGN, which programs that the member starts would inherit."""

    def handle(number: int, frame: object) -> None:
        if number == signal.SIGTERM and connection.poll():
            raise Ended

    for name in _ASKS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), handle)


def _redirect(output: Connection) -> None:
    """Sends what this process prints, in C too, into the driver's pipe."""
    _flush()
    for fd in (1, 2):
        os.dup2(output.fileno(), fd)
    output.close()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(line_buffering=True)  # the last words before a crash count
    with suppress(Exception):
        faulthandler.enable()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    with suppress(Exception):
        ctypes.CDLL(None).fflush(None)


# -- in the driver ----------------------------------------------------------------------------------------------------


class Worker:
    """A worker process as the driver sees it. `order` is what it is busy with, `since` when that was sent."""

    def __init__(self, slot: int, setup: Setup, environment: Mapping[str, str | None], captured: bool):
        self.slot, self._setup = slot, setup
        self.ready = False
        self.order: Any = None
        self.since = 0.0
        self.connection, theirs = _SPAWN.Pipe()
        self.output, writer = _SPAWN.Pipe(duplex=False) if captured else (None, None)
        self.process = _SPAWN.Process(target=main, args=(theirs, writer), name=f"poptrain-{slot}", daemon=False)
        try:
            with _changed_environment(environment):
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

    def give_setup(self) -> None:
        self.send(self._setup)

    def give(self, order: Any, task: Task, start: Start) -> None:
        """Sends a task to a worker that is ready and idle."""
        self.order, self.since = order, clock.monotonic()
        self.send((task, start))

    def send(self, message: Any) -> None:
        with suppress(ConnectionError):  # it died: that is noticed where all deaths are
            self.connection.send(message)

    def printed(self) -> bytes:
        """Returns what the worker printed and nobody read yet, at most 64 KiB; empty if there is nothing."""
        if self.output is None:
            return b""
        with suppress(BlockingIOError):
            if not (data := os.read(self.output.fileno(), 1 << 16)):
                self.output.close()  # the member closed it, or is dead
                self.output = None
            return data
        return b""

    @property
    def alive(self) -> bool:
        return self.process.exitcode is None

    def ask_to_end(self) -> None:
        """Tells the worker to end, also in the middle of a task."""
        self.send(None)
        self._signal(signal.SIGTERM)

    def end(self, grace: float) -> None:
        """Ends the process within `grace` seconds, by force if it must, and whatever it had started."""
        self.process.join(max(grace, 0.0))
        self._signal(signal.SIGKILL)
        self.process.join(5.0)

    def release(self) -> None:
        """Gives back the pipes and the process table's entry of a dead worker."""
        self._close()
        with suppress(ValueError):  # it sleeps in the kernel and cannot be killed: nothing more can be done
            self.process.close()

    def fate(self) -> str:
        """Returns how the process ended, for people."""
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"exited with code {code}"
        with suppress(ValueError):
            name = signal.Signals(-code).name
            return f"was ended by signal {-code} ({name}{': out of memory?' if name == 'SIGKILL' else ''})"
        return f"was ended by signal {-code}"

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.process.pid, number)  # a group of its own, from the moment that `main` begins
        except (ProcessLookupError, PermissionError):
            if self.alive:
                os.kill(self.process.pid, number)

    def _close(self) -> None:
        self.connection.close()
        if self.output is not None:
            self.output.close()


@contextmanager
def _changed_environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Changes this process's environment while a child that shall inherit it is started; None removes a variable."""
    with _ENVIRONMENT:
        before = {name: os.environ.get(name) for name in changes}
        _set_environment(changes)
        try:
            yield
        finally:
            _set_environment(before)


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
