"""What a log holds, up to some line."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

from poptrain.core import History, Json, Line, clock, collector, results_of
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.core.gathered import Gathered, gathered, joined
from poptrain.core.lines import Lines
from poptrain.core.order import Order
from poptrain.log.codec import Entry, decode_facts
from poptrain.log.disk import FS, default
from poptrain.log.notes import check_note
from poptrain.log.usual import results_in

Fields = dict[str, Json]  # of a line of administration
Event = tuple[str, Fields, float]  # type, fields, time in seconds since 1970


class Content:
    """The content of a log, up to the line that was taken last. Scores have the user's sign.

    Args:
        directory: of the run; None for a log in memory.
    """

    def __init__(self, directory: Path | None = None, fs: FS = default):
        self.directory, self.fs = directory, fs
        self.run: Fields = {}  # the description of the run, from when it was created
        self.lines = Lines()  # the facts
        self.times = array("d")  # when each of `lines` was written, in seconds since 1970
        self.events: list[Event] = []  # administration
        self.epoch = 0  # how often the run was opened for writing
        self.seq, self.crc = 0, 0  # number of the next line, checksum of the last
        self.segment, self.offset, self.number = 1, 0, 0  # where the next line begins: file, byte, lines before it
        self.order: Order | None = Order()  # refuses a line that cannot follow; None: the lines were checked before
        self._gathered: list[tuple[int, Gathered]] = []  # what the lines from this number on tell, where it is known
        self._state, self._spent, self._opened, self._last = "", 0.0, 0.0, 0.0

    def history(self, budget: int | None = None) -> History:
        """Returns the history that algorithms see, with maximised scores; the budget is the log's unless given."""
        sign = -1 if self.run.get("mode") == "min" else 1
        history = History(self.run.get("seed", 0), self.budget if budget is None else budget, sign)
        with collector.paused():
            return history.filled(*self.told(len(self.lines), sign))

    def told(self, count: int, sign: int) -> tuple[Lines, Gathered | None]:
        """Returns the first `count` lines, with scores times `sign`, and what they tell."""
        lines, parts, at = self.lines[:count], [], 0
        for first, known in [*((first, known) for first, known in self._gathered if first < count), (count, None)]:
            if first > at:
                parts.append(gathered(lines[at:first]))
            if known is not None:
                parts.append(known)
                at = first + len(known.kind)
        return lines.maximised(sign), joined(parts).with_sign(sign) if parts and at <= count else None

    @property
    def budget(self) -> int | None:
        """Lineage steps per member: the newest value that was noted, else the one that the run was created with."""
        noted = (fields["budget"] for type, fields, _ in reversed(self.events) if type == "budget")
        budget: int | None = next(noted, self.run.get("budget"))
        return budget

    @property
    def file(self) -> Fields | None:
        """The experiment file: the one that was noted last, else the one that the run was created with; None without one."""
        noted = (fields for type, fields, _ in reversed(self.events) if type == "file")
        return next(noted, self.run.get("file"))

    @property
    def finished(self) -> bool:
        """True if the run has ended since it was last opened."""
        return self._state == "end"

    @property
    def suspended(self) -> bool:
        """True if the run was suspended since it was last opened."""
        return self._state == "suspend"

    @property
    def elapsed(self) -> float:
        """Seconds of wall time over all sessions, each from its opening to its last line."""
        return self._spent + max(0.0, self._last - self._opened)

    def results(self) -> Iterator[Json]:
        """Yields all results. Those whose facts were not made have the same fields, as they are decoded."""
        for line in self.lines.sources():
            yield from results_of(line) if type(line) is tuple else results_in(line)

    def checkpoints(self) -> list[str]:
        """Returns the checkpoint references of all results, without those that were collected."""
        gone = {name for type, fields, _ in self.events if type == "gc" for name in fields["ids"]}
        refs = [result.checkpoint for result in self.results()]
        return [ref for ref in refs if ref is not None and ref.partition(":")[0].partition("/")[0] not in gone]

    @property
    def has_results(self) -> bool:
        """True if at least one task has a result with a checkpoint, so that something would be lost with the run."""
        return any(result.checkpoint for line in self.lines for result in results_of(line))

    def __repr__(self) -> str:
        where = "in memory" if self.directory is None else f"of {str(self.directory)!r}"
        return f"<Record {where}: {self.summary()}>"

    def summary(self) -> str:
        """Returns one phrase: the numbers of tasks and results, and whether the run has ended."""
        _, told = self.told(len(self.lines), 1)
        tasks, results = (0, 0) if told is None else (len(told.id), len(told.task))
        state = "finished" if self.finished else "suspended" if self.suspended else "not finished"
        return f"{counted(tasks, 'task')}, {counted(results, 'result')}, {state}"

    @property
    def home(self) -> Path:
        """The run directory; raises UsageError for a run that has none."""
        if self.directory is None:
            raise UsageError("this run is only in memory: run it with directory=… to keep it.")
        return self.directory

    def take(self, entry: Entry, line: Line | None = None) -> None:
        """Adds one line that was checked; `line` holds its facts if they were decoded before."""
        time = clock.parse_utc(entry.wall)
        if line is None:
            line = decode_facts(entry.type, entry.data, entry.version, self.run.get("algorithm"))
            if line is None:
                check_note(entry.type, entry.data, first=not self.seq)
            elif not line:
                raise ValueError("it holds no facts")
            elif self.order is not None:
                self.order.check(line)
        if line is not None and self.order is not None:
            self.order.take(line)
        if line is None and entry.type == "run":
            self.run = entry.data
        self.note(entry.type, entry.data, time, line)
        self.epoch, self.crc = entry.epoch, entry.crc

    def check(self, line: Line) -> None:
        """Raises a `UsageError` if a line of facts cannot follow; a writer calls it before it writes."""
        if self.order is not None:
            try:
                self.order.check(line)
            except ValueError as error:
                raise UsageError(f"a line of facts cannot be logged: {error}.") from error

    def note(self, type: str, data: Json, time: float, line: Line | None = None) -> None:
        """Adds facts, or administration."""
        self.seq += 1
        if type == "run":
            return
        self._last, last = time, self._last
        if line is not None:
            self.lines.append(line)
            self.times.append(time)
            return
        self.events.append((type, data, time))
        if type in ("open", "suspend", "end"):
            self._state = type
        if type == "open":
            self._spent, self._opened = self._spent + max(0.0, last - self._opened), time
