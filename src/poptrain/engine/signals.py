"""Interrupts that never cut a write in half: a signal is remembered, and raised only while the run waits for results."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TypeVar

from poptrain.core.errors import Suspended

ItemT = TypeVar("ItemT")
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
    """

    NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

    def __init__(self, farewell: Callable[[], str] = lambda: "") -> None:
        self._farewell = farewell
        self._before: dict[int, object] = {}
        self._waiting = False
        self._noted: int | None = None

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in self.NUMBERS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Lets a signal raise `Interrupted` inside the block, also one that came before."""
        self._waiting = True
        try:
            if self._noted is not None:
                raise Interrupted(self._noted)
            yield
        finally:
            self._waiting = False

    def finishing(self, items: Iterable[ItemT], what: str) -> Iterator[ItemT]:
        """Yields from an iterator of an interrupted run, and prints `what` if that takes long; another signal ends it at once."""
        notice = threading.Timer(SOON, say, [what])
        notice.daemon = True
        notice.start()
        items = iter(items)
        try:
            while True:
                self._waiting = True
                try:
                    item = next(items)
                except (StopIteration, Interrupted):
                    return
                finally:
                    self._waiting = False
                yield item
        finally:
            notice.cancel()

    def _handle(self, number: int, frame: object) -> None:
        if self._noted is not None and not self._waiting:  # the process ends at once; the files on disk are valid
            say(self._farewell())
            os._exit(128 + number)
        self._noted = number
        if self._waiting:
            self._waiting = False
            raise Interrupted(number)


def say(text: str) -> None:
    """Prints a line on standard error, also from inside a handler that came in the middle of another write."""
    with suppress(RuntimeError, OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


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
