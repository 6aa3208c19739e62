"""The guard around every sink: a thread of its own, so that a sink that fails, hangs or is slow does not delay training."""

from __future__ import annotations

import atexit
import sys
import threading
from contextlib import suppress

from poptrain.core import History
from poptrain.core.protocols import Sink
from poptrain.core.user_objects import answer_of, named
from poptrain.core.warned import warn_user
from poptrain.log.reader import Record
from poptrain.sinks.adapted import as_sink

LONGEST_DELAY = 60.0  # seconds between two attempts of a sink that tries again
AT_EXIT = 60.0  # seconds that the end of the process waits for a sink that is still busy


class Guarded:
    """A sink on a thread of its own. The run reports that the log has grown, and continues; an error is only a warning.

    A sink that sleeps while ten lines are written is called once for all of them: it reads the record from where it left off.

    Args:
        sink: an object with ``write(record, history)``; see `poptrain.core.protocols.Sink`.

    Raises:
        UsageError: it has no ``write``.
    """

    def __init__(self, sink: object):
        self._sink: Sink[Record] = as_sink(sink)
        self._name = type(sink).__name__
        self._patience = answer_of(lambda: _seconds(self._sink.patience, Sink.patience), Sink.patience)
        self._record: Record | None = None
        self._history: History | None = None
        self._grown, self._ending = threading.Event(), threading.Event()
        self._failure: BaseException | None = None  # of the newest attempt
        self._thread: threading.Thread | None = None
        self._warned = False

    def open(self, record: Record) -> None:
        """Begins to follow a record; returns at once."""
        self._record = record
        thread = threading.Thread(target=self._follow, args=(record,), name=f"poptrain-{self._name}", daemon=True)
        thread.start()
        self._thread = thread  # only one that was started can be waited for

    def write(self, record: Record, history: History) -> None:
        """Notifies the sink that the record has grown; returns at once."""
        self._history = history
        self._grown.set()
        self._warn_once()

    def close(self) -> None:
        """Waits until the sink has caught up, for its patience at most, and warns if it has not."""
        if self._thread is None or self._record is None:
            return
        self._ending.set()
        self._grown.set()
        self._thread.join(self._patience)
        thread, self._thread = self._thread, None
        busy = thread.is_alive()
        if not busy and self._failure is None:
            return
        if busy:
            _wait_at_exit(thread)
        why = f"was still busy {self._patience:g} s after the end" if busy else f"failed ({_short(self._failure)})"
        if (hint := self._hint(self._record)) is not None:
            _warn(f"sink {self._name} {why}; the run itself is complete. Fill in what is missing with: {hint}")
        elif busy:
            _warn(f"sink {self._name} {why}; the run itself is complete.")
        else:
            self._warn_once()

    def _hint(self, record: Record) -> str | None:
        return answer_of(lambda: self._sink.hint(record), None)

    # -- on the thread ------------------------------------------------------------------------------------------------

    def _follow(self, record: Record) -> None:
        delay = 1.0
        while True:
            last = self._ending.is_set()
            try:
                self._attempt(record)
                self._failure = None
                return
            except BaseException as error:
                self._failure = error
                if last or not self._sink.retries:
                    return
            self._ending.wait(delay)
            delay = min(2 * delay, LONGEST_DELAY)

    def _attempt(self, record: Record) -> None:
        """Serves the sink to the end of the run, or until it raises."""
        self._sink.open(record)
        self._grown.set()  # a run that is continued has lines already
        while True:
            self._grown.wait()
            ending = self._ending.is_set()
            self._grown.clear()  # before the sink looks, so that a line written meanwhile wakes it again
            if self._history is not None:
                self._sink.write(record, self._history)
            self._failure = None
            if ending:
                break
            self._ending.wait(_seconds(self._sink.every, Sink.every))
        self._sink.close()

    def _warn_once(self) -> None:
        error = self._failure
        if error is not None and not self._warned:
            self._warned = True
            then = "it is tried again" if answer_of(lambda: self._sink.retries, False) else "it gets no more calls"
            _warn(f"sink {self._name} failed; training continues, and {then}: {_short(error)}")


def _seconds(value: object, default: float) -> float:
    """Returns a sink's own number of seconds, if it is one."""
    return float(value) if isinstance(value, (int, float)) and 0 <= value < threading.TIMEOUT_MAX else default


def _wait_at_exit(thread: threading.Thread) -> None:
    """Lets the end of the process wait for a thread.

    Python stops daemon threads wherever they are, also inside the C++ code of a database, and that aborts the whole process. Its
    own hooks come first: after them no thread can start others, which MLflow does for uploads.
    """
    register = getattr(threading, "_register_atexit", atexit.register)
    with suppress(RuntimeError):  # the process is ending already
        register(thread.join, AT_EXIT)


def _short(error: BaseException | None) -> str:
    return "" if error is None else named(error)


def _warn(text: str) -> None:
    try:
        warn_user(text)
    except Warning:  # warnings are errors here: an error would stop the run
        print(f"warning: {text}", file=sys.stderr, flush=True)
