"""Interrupts that never cut a write in half: a signal is remembered, and raised only while the run waits for results."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from types import TracebackType
from typing import TypeVar

from poptrain.core.errors import Suspended
from poptrain.core.interactive import interactive
from poptrain.engine.voice import say

ItemT = TypeVar("ItemT")
TWICE = 0.1  # seconds in which a signal that comes again is the same one: `timeout` sends it to the process, then to its group
SOON = 0.3  # seconds after which a run that was interrupted prints what it waits for


class Interrupted(KeyboardInterrupt):  # it passes through the user's code, like that one
    """A signal asked the run to stop; `number` is the signal."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


class Signals:
    """Handlers for SIGINT, SIGTERM and SIGHUP during a run; outside the main thread it does nothing.

    Args:
        farewell: returns what is printed when a signal ends the process at once.
        grace: seconds that a block of `interruptible` goes on after a first signal; 0: it is interrupted at once.
        finishing: returns what is printed if finishing takes long.
    """

    NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

    def __init__(
        self, farewell: Callable[[], str] = lambda: "", grace: float = 0.0, finishing: Callable[[], str] = lambda: ""
    ) -> None:
        self._farewell, self._grace, self._finishing = farewell, grace, finishing
        self._before: dict[int, object] = {}
        self._waiting = self._overtime = False
        self._noted: int | None = None
        self._at = 0.0  # when that came
        self._raised: int | None = None  # in the block that is running; code in it may have caught it
        self._timers: list[threading.Timer] = []  # of the block that goes on
        self._end = EndAtTheSecond(farewell)

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in self.NUMBERS}
            if _orders is None:
                self._end.arm()
            elif _orders:  # it came before this run was ready
                self._noted = _orders[0]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned

    def disarm(self) -> None:
        """Ends the promise that a second signal ends the process: the run has ended."""
        self._end.disarm()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Lets a signal raise `Interrupted` inside the block, also one that came before.

        It is raised at the end as well, whatever became of the first: JAX makes an error of its own from what a callback raises,
        and user code may catch everything. So no member fails because of it.
        """
        self._waiting, self._raised = True, None
        try:
            if self._noted is not None:
                raise Interrupted(self._noted)
            yield
        except Exception as error:
            if self._raised is not None:
                raise Interrupted(self._raised) from error
            raise
        else:
            if self._raised is not None:
                raise Interrupted(self._raised)
        finally:
            self._waiting = False
            self._stop_timers()

    def finishing(self, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """Yields from an iterator of an interrupted run, and says so if that takes long; another signal ends it at once."""
        notice = _later(SOON, self._say_what)
        items = iter(items)
        try:
            while True:
                self._waiting, self._raised = True, None
                try:
                    item = next(items)
                except (StopIteration, Interrupted):
                    return
                finally:
                    self._waiting = False
                if self._raised is not None:
                    return
                yield item
        finally:
            notice.cancel()

    def _handle(self, number: int, frame: object) -> None:
        if _orders is not None and not self._overtime and (not _orders or self._noted is not None):
            return  # it was not ordered, or the run is being suspended already
        now = time.monotonic()
        if number == self._noted and now - self._at < TWICE and not self._overtime:
            return
        self._at = now
        if self._overtime and not self._waiting:
            self._overtime = False  # the block ended just before its time was over
            return
        if self._noted is not None and not self._waiting:  # the process ends at once; the files on disk are valid
            say(self._farewell())
            os._exit(128 + number)
        first, self._noted = self._noted is None, number
        if self._waiting and first and self._grace:
            self._timers = [_later(SOON, self._say_what), _later(self._grace, self._interrupt_late)]
        elif self._waiting:
            self._waiting, self._raised = False, number
            self._stop_timers()
            raise Interrupted(number)

    def _interrupt_late(self) -> None:
        self._overtime = True
        signal.pthread_kill(threading.main_thread().ident or 0, self._noted or signal.SIGINT)  # it also wakes a sleep there

    def _say_what(self) -> None:
        say(self._finishing())

    def _stop_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()


class EndAtTheSecond:
    """Ends the process two seconds after a second signal, whatever hangs: a step in C, a worker that was stopped, a sink.

    A thread receives the numbers of signals through `signal.set_wakeup_fd`, which works while the main thread executes no Python.
    At a prompt and in a notebook it does nothing, because the process belongs to the user.
    """

    SECONDS = 1.8

    def __init__(self, farewell: Callable[[], str]) -> None:
        self._farewell, self._armed, self._writer = farewell, False, -1

    def arm(self) -> None:
        """Begins to listen, unless something else in this process does, or it may have no more pipes or threads."""
        if interactive():
            return
        try:
            reader, self._writer = os.pipe()
        except OSError:  # the run is worth more than the promise
            return
        os.set_blocking(self._writer, False)
        before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._armed = before == -1
        if not self._armed:
            signal.set_wakeup_fd(before)
            os.close(self._writer)
            os.close(reader)
            return
        _listening.add(self._writer)
        try:
            threading.Thread(target=self._listen, args=(reader,), name="poptrain-signals", daemon=True).start()
        except RuntimeError:
            self.disarm()
            os.close(reader)

    def disarm(self) -> None:
        """Ends listening."""
        if self._armed:
            self._armed = False
            signal.set_wakeup_fd(-1)
            _listening.discard(self._writer)
            with suppress(OSError):  # the user's code has closed it
                os.close(self._writer)

    def _listen(self, reader: int) -> None:
        with suppress(OSError):  # the user's code has closed the pipe
            self._count(reader)

    def _count(self, reader: int) -> None:
        numbers: list[int] = []
        newest = 0.0
        while data := os.read(reader, 16):
            before, now = len(numbers), time.monotonic()
            for number in data:
                if number in Signals.NUMBERS and not (number in numbers[-1:] and now - newest < TWICE):
                    numbers.append(number)
                    newest = now
            if before < 2 <= len(numbers):
                _later(self.SECONDS, self._exit, numbers[-1])
        os.close(reader)

    def _exit(self, number: int) -> None:
        if self._armed:
            say(self._farewell())
            os._exit(128 + number)


_listening: set[int] = set()  # descriptors into which the signals of this process are written


def _forget_signals() -> None:
    """A forked child must not write its own signals into the pipe of this process."""
    if _listening:
        with suppress(ValueError):
            signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_signals)


_orders: list[int] | None = None  # signals that the parent ordered; a list only in the workers of a study


def obey_only_orders() -> None:
    """Makes this process, a worker of a study, ignore signals that its parent has not ordered.

    A terminal or a batch system signals every process of a job, and the parent decides what becomes of the runs. SIG_IGN would
    not do: programs that a member starts would inherit it.
    """
    global _orders
    _orders = []
    for number in Signals.NUMBERS:
        signal.signal(number, lambda *_: None)


def ordered() -> bool:
    """True if the parent of this worker has ordered it to stop."""
    return bool(_orders)


def obey(number: int) -> None:
    """Delivers a signal that the parent ordered; called by another thread than the main one."""
    if _orders is not None:
        _orders.append(number)
        signal.pthread_kill(threading.main_thread().ident or 0, number)


def _later(seconds: float, function: Callable[..., None], *arguments: object) -> threading.Timer:
    timer = threading.Timer(seconds, copy_context().run, (function, *arguments))
    timer.daemon = True
    timer.start()
    return timer


def end_without_a_traceback() -> None:
    """Makes a script that a person interrupts, and that does not catch `Suspended`, end with one line and its exit code."""
    if sys.excepthook is not _short:
        _others.append(sys.excepthook)
        sys.excepthook = _short


_others = [sys.__excepthook__]


def _short(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, Suspended) and error.asked:
        say(str(error))
        raise SystemExit(error.exit_code)
    _others[-1](kind, error, trace)
