"""Sinks that do not inherit from `Sink`: what they leave out gets the protocol's defaults."""

from __future__ import annotations

from typing import cast

from poptrain.core import History
from poptrain.core.errors import UsageError
from poptrain.core.protocols import Sink
from poptrain.log.reader import Record


def as_sink(sink: object) -> Sink[Record]:
    """Returns an object as a `Sink`. In version 0.1 there was no class to inherit from, and a sink needed only ``write``.

    Raises:
        UsageError: it is not an object with ``write(record, history)``.
    """
    if isinstance(sink, type):
        raise UsageError(f"sinks: got the class {sink.__name__}; pass an object, such as {sink.__name__}(…).")
    if Sink in type(sink).__mro__:
        return cast(Sink[Record], sink)
    if not callable(getattr(sink, "write", None)):
        raise UsageError(
            f"sinks: {sink!r} has no write(record, history), which is called when the log has grown; pass an object that has it."
        )
    return _Adapted(sink)


def checked_sinks(sinks: object) -> tuple[Sink[Record], ...]:
    """Returns the sinks of a list as a tuple.

    Raises:
        UsageError: it is not a list, or one of the objects is not a sink.
    """
    if not isinstance(sinks, (list, tuple)):
        raise UsageError(f"sinks={sinks!r:.80}: expected a list of sinks, such as sinks=[pt.sinks.TensorBoard('logs')].")
    for sink in sinks:
        as_sink(sink)
    return tuple(sinks)


class _Adapted(Sink[Record]):
    """An object with ``write``. This is the only place that looks up optional methods and attributes of a sink."""

    def __init__(self, sink: object):
        self._sink = sink
        self._copy_attributes()

    def open(self, record: Record) -> None:
        """Calls ``open`` if the sink has it."""
        self._call("open", record)

    def write(self, record: Record, history: History) -> None:
        """Calls ``write``."""
        self._call("write", record, history)

    def close(self) -> None:
        """Calls ``close`` if the sink has it."""
        self._call("close")

    def hint(self, record: Record) -> str | None:
        """Returns the sink's hint, if it has one."""
        hint = getattr(self._sink, "hint", None)
        return None if hint is None else str(hint(record))

    def _call(self, method: str, *arguments: object) -> None:
        try:
            if (function := getattr(self._sink, method, None)) is not None:
                function(*arguments)
        finally:
            self._copy_attributes()  # a sink may change its own pace

    def _copy_attributes(self) -> None:
        self.every = float(getattr(self._sink, "every", Sink.every))
        self.patience = float(getattr(self._sink, "patience", Sink.patience))
        self.retries = bool(getattr(self._sink, "retries", Sink.retries))
