"""The guard around every sink: a thread of its own, so that a sink that fails, hangs or is slow costs training nothing."""

from __future__ import annotations

import threading
import warnings
from typing import Any

from poptrain.core import History

PATIENCE = 10.0  # seconds that a run waits at its end for a sink to catch up
LONGEST = 60.0  # seconds between two attempts of a sink that tries again


class Guarded:
    """A sink on a thread of its own. The run hands over the news and goes on; what becomes of it is a warning at most.

    A sink that sleeps through ten lines is called once for all of them: it reads the record from where it left off. A sink
    may have these attributes: ``every``, the seconds between two calls of ``write``; ``retries``, True if ``open`` may be
    called again after an error, because it finds out by itself how far it came; ``patience``, the seconds that the run
    waits for it at the end; ``hint(record)``, the command that fills in afterwards what is missing.
    """

    def __init__(self, sink: Any):
        self._sink, self._name = sink, type(sink).__name__
        self._patience = float(getattr(sink, "patience", PATIENCE))
        self._record: Any = None
        self._history: History | None = None
        self._news, self._ending = threading.Event(), threading.Event()
        self._failure: BaseException | None = None  # of the newest attempt
        self._thread: threading.Thread | None = None
        self._told = False

    def open(self, record: Any) -> None:
        """Begins to follow a record; returns at once."""
        self._record = record
        self._thread = threading.Thread(target=self._follow, name=f"poptrain-{self._name}", daemon=True)
        self._thread.start()

    def write(self, record: Any, history: History) -> None:
        """Tells the sink that the record has grown; returns at once."""
        self._history = history
        self._news.set()
        self._warn_once()

    def close(self) -> None:
        """Waits until the sink has caught up, for its patience at most, and says so if it has not."""
        if self._thread is None:
            return
        self._ending.set()
        self._news.set()
        self._thread.join(self._patience)
        busy, self._thread = self._thread.is_alive(), None
        if not busy and self._failure is None:
            return
        hint = getattr(self._sink, "hint", None)
        if hint is None:
            self._warn_once() if not busy else _warn(f"sink {self._name} was still busy {self._patience:g} s after the end.")
            return
        why = f"was still busy {self._patience:g} s after the end" if busy else f"failed ({_short(self._failure)})"
        _warn(f"sink {self._name} {why}; the run itself is complete. Fill in what is missing with: {hint(self._record)}")

    # -- on the thread ------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        delay = 1.0
        while True:
            last = self._ending.is_set()
            try:
                self._attend()
                self._failure = None
                return
            except BaseException as error:
                self._failure = error
                if last or not getattr(self._sink, "retries", False):
                    return
            self._ending.wait(delay)
            delay = min(2 * delay, LONGEST)

    def _attend(self) -> None:
        self._call("open", self._record)
        self._news.set()  # a run that goes on has lines already
        while True:
            self._news.wait()
            ending = self._ending.is_set()
            self._news.clear()  # before the sink looks: what is logged meanwhile is news again
            if self._history is not None:
                self._call("write", self._record, self._history)
            self._failure = None
            if ending:
                break
            self._ending.wait(getattr(self._sink, "every", 0.0))
        self._call("close")

    def _call(self, method: str, *args: Any) -> None:
        if (function := getattr(self._sink, method, None)) is not None:
            function(*args)

    def _warn_once(self) -> None:
        error = self._failure
        if error is not None and not self._told:
            self._told = True
            again = "it is tried again" if getattr(self._sink, "retries", False) else "it is off"
            _warn(f"sink {self._name} failed, training goes on and {again}: {_short(error)}")


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}{'…' if len(text) > 200 else ''}"


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)
