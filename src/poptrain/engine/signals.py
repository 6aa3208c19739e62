"""Interrupts that never cut a write in half: a signal is remembered, and raised only while the run waits for results."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupted(KeyboardInterrupt):  # it passes through the user's code, like that one
    """A signal asked the run to stop; `number` is the signal."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


class Signals:
    """Handlers for SIGINT, SIGTERM and SIGHUP during a run; outside the main thread it does nothing."""

    NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

    def __init__(self) -> None:
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

    def _handle(self, number: int, frame: object) -> None:
        if self._noted is not None and not self._waiting:
            os._exit(128 + number)  # the second signal ends the process at once; the files on disk are valid
        self._noted = number
        if self._waiting:
            self._waiting = False
            raise Interrupted(number)
