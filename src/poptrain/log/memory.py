"""The log of a run without a directory: the interface of `Log`, with nothing but lists in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from poptrain.core import Json, Lost, Result, Task, as_line, clock
from poptrain.log.reader import Record


class MemoryLog:
    """A log that ends with the process. It fulfils `LogWriter`."""

    durable = False

    def __init__(self, run: Mapping[str, Json]):
        self.epoch = 1
        self.record = Record()
        self.record.run, self.record.epoch = dict(run), 1
        self.note("open")

    def append(self, facts: Sequence[Task] | Sequence[Result] | Lost, *, checked: bool = False) -> None:
        """Adds one line of facts."""
        if line := as_line(facts):
            if not checked:
                self.record.check(line)
            if self.record.order is not None:
                self.record.order.take(line)
            self.record.note("", None, clock.now(), line)

    def note(self, type: str, /, **fields: Json) -> None:
        """Adds one line of administration."""
        self.record.note(type, fields, clock.now())

    def reopen(self) -> None:
        """Continues the log after an interruption, in the process that began it."""
        self.epoch += 1
        self.record.epoch = self.epoch
        self.note("open")

    def close(self) -> None:
        """Does nothing: there is nothing to free."""

    def __enter__(self) -> MemoryLog:
        return self

    def __exit__(self, *_: object) -> None:
        pass
