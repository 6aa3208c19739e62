"""A worker process: what runs in it. `handle.Worker` is the driver's view of it, and `messages` lists what they send.

A worker dies with its driver: by the kernel's parent-death signal on Linux, elsewhere when the pipe closes. It is in a
process group of its own, so that Ctrl-C reaches the driver alone, and a worker's own children die with it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import io
import multiprocessing
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from poptrain.checkpoints import carry as carries
from poptrain.core import Carry, Task
from poptrain.core.errors import PoptrainError, UsageError
from poptrain.executors.adapters import form_of
from poptrain.executors.context import Start
from poptrain.executors.members import Members
from poptrain.executors.messages import Fatal, WorkerSetup
from poptrain.trainable import AnyTrainable

STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # a terminal or a batch system sends them to every process of a job


class Ended(KeyboardInterrupt):  # it passes through the user's code, like that one
    """The driver ended this worker in the middle of a task."""


def worker_main(connection: Connection, output: Connection | None) -> None:
    """Performs tasks until the driver sends None, ends this process, or dies."""
    die_with_the_driver()
    with suppress(OSError, AttributeError):
        os.setpgid(0, 0)
    if output is not None:
        _redirect(output)
    with suppress(EOFError, ConnectionError, Ended):  # the driver may end a worker as soon as its signals are let in
        _leave_signals_to_the_driver(connection)
        connection.send(("hello",))
        members = _set_up(connection)
        if members is not None:
            _serve(connection, members)
            members.close()
    with suppress(Ended):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is left that must be ended in order
        _flush()


def _set_up(connection: Connection) -> Members[Any] | None:
    def keep_error(name: str, text: str) -> None:
        connection.send(("traceback", name, text))

    try:
        setup: WorkerSetup = connection.recv()
        store = StoreOfDriver(connection) if setup.store is None else setup.store
        form = form_of(cast(AnyTrainable, setup.trainable), setup.static, metric=setup.metric)
        members = Members(form, setup.metric, store, keep_error, setup.warm)
    except (EOFError, ConnectionError):
        raise
    except PoptrainError as error:
        connection.send(("fatal", Fatal.of(error)))
        return None
    except (Exception, SystemExit) as error:
        text = f"a worker process could not import the trainable: {type(error).__name__}: {error}."
        connection.send(("fatal", Fatal.of(UsageError(text))))
        return None
    connection.send(("ready",))
    return members


def _serve(connection: Connection, members: Members[Any]) -> None:
    order: tuple[Task, Start] | None
    while (order := connection.recv()) is not None:
        message: tuple[str, object]
        try:
            message = "result", members.perform(*order)
        except PoptrainError as error:
            message = "fatal", Fatal.of(error)
        _flush()
        connection.send(message)


class StoreOfDriver:
    """The driver's store, called through the pipe: for a run without a directory."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def commit(self, name: str, carry: Carry, *, task: int, member: int, step: int) -> str:
        return str(self._call("commit", name, carries.copy(carry), task=task, member=member, step=step))

    def stage(self, name: str) -> Path:
        return Path(self._call("stage", name))

    def commit_staged(self, name: str, *, task: int, member: int, step: int) -> str:
        return str(self._call("commit_staged", name, task=task, member=member, step=step))

    def read(self, ref: str) -> Carry:
        return self._call("read", ref)

    def path(self, ref: str) -> Path:
        return Path(self._call("path", ref))

    def _call(self, method: str, *args: object, **kwargs: object) -> Carry:
        self._connection.send(("store", method, args, kwargs))
        answer = self._connection.recv()
        if answer is None:
            raise Ended
        ok, value = answer
        if not ok:
            raise value
        return value


def die_with_the_driver() -> None:
    """Makes the kernel end this process when its parent ends, where it can."""
    driver = multiprocessing.parent_process()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        if driver is None or os.getppid() != driver.pid:
            os._exit(1)  # it died before the line above


def _leave_signals_to_the_driver(connection: Connection) -> None:
    """Makes a signal end a task only if the driver has also announced the end in the pipe.

    A batch system signals every process of a job, and a member must then be able to finish its task. SIG_IGN would not do:
    programs that the member starts would inherit it.
    """

    def handle(number: int, frame: object) -> None:
        if number == signal.SIGTERM and connection.poll():
            raise Ended

    for name in STOP_SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), handle)
    unblock_signals()


def unblock_signals() -> None:
    """Lets the signals in that were held back while this process began (`handle.quiet_start`): its handlers are in place."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {getattr(signal, name) for name in STOP_SIGNALS})


def _redirect(output: Connection) -> None:
    """Sends what this process prints, also from C code, into the driver's pipe."""
    _flush()
    for fd in (1, 2):
        os.dup2(output.fileno(), fd)
    output.close()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(ValueError):
                stream.reconfigure(line_buffering=True)  # the last words before a crash are worth having
    with suppress(Exception):
        faulthandler.enable()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    with suppress(Exception):
        ctypes.CDLL(None).fflush(None)
