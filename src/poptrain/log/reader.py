"""Reading a log. It needs no lock and never writes, so any process may read a log at any time, and follow it while it grows.

A torn last line is left out, because a crash can tear the one line that was not acknowledged. Damage anywhere else raises an
error.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from poptrain.core import History, Json, Line, clock, collector, results_of
from poptrain.core.arguments import check_place
from poptrain.core.counting import counted
from poptrain.core.errors import LogDamaged, UsageError
from poptrain.core.gathered import RESULTS, TASKS, Gathered, gather, gathered, joined
from poptrain.core.lines import Lines
from poptrain.core.order import Order
from poptrain.log.blocks import Blocks, checksums, time_reader
from poptrain.log.codec import VERSION, Entry, decode_facts, decode_line
from poptrain.log.disk import FS, default
from poptrain.log.finding import only_reading, segment_name
from poptrain.log.notes import check_note, in_short
from poptrain.log.usual import REFUSED, UsualLines, is_results

SEGMENT = 64 << 20  # bytes after which a new file is begun
MANY = 16 << 10  # bytes of a block of lines from which on their facts are made when they are needed
LINE = 16 << 20  # bytes of the longest line that is allowed
_SEGMENT_NAME = re.compile(r"log-(\d{6,})\.jsonl")
_HEADER = re.compile(rb'\{"v":\d+,"q":(\d+),"e":\d+,"w":"')  # of a line; no hyperparameter or text can look like it

Fields = dict[str, Json]  # of a line of administration
Event = tuple[str, Fields, float]  # type, fields, time in seconds since 1970


class Record:
    """The content of a log, up to the line that was read last; `refresh` continues to read. Scores have the user's sign.

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
        self.torn = 0  # bytes after the last good line, which are not a line
        self._blocks, self._usual, self._time_of = Blocks(), UsualLines(), time_reader()
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

    def checkpoints(self) -> list[str]:
        """Returns the checkpoint references of all results, without those that were collected."""
        gone = {name for type, fields, _ in self.events if type == "gc" for name in fields["ids"]}
        refs = [result.checkpoint for line in self.lines.sources() for result in self._results_in(line)]
        return [ref for ref in refs if ref is not None and ref.partition(":")[0].partition("/")[0] not in gone]

    def _results_in(self, line: Json) -> Sequence[Json]:
        """Returns the results of a line, whose facts need not be made: with the fields of facts, at least."""
        return results_of(line) if type(line) is tuple else self._usual.results(line)

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

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def home(self) -> Path:
        """The run directory; raises UsageError for a run that has none."""
        if self.directory is None:
            raise UsageError("this run is only in memory: run it with directory=… to keep it.")
        return self.directory

    @property
    def path(self) -> Path:
        """The file that the next line is read from or written to."""
        return self.home / segment_name(self.segment)

    def refresh(self) -> int:
        """Reads the lines that were written since the last call and returns their number. It never locks and never writes.

        Raises:
            LogDamaged: a line that is not the last one is bad.
        """
        if self.directory is None:
            return 0
        before, more = self.seq, True
        while more:
            # Files are listed before one is read. A writer has finished a file before it begins the next one, so if there
            # is a next one, an incomplete line in this one was damaged later.
            newest = max(self._segments(), default=0)
            if newest < self.segment:
                break
            more = newest > self.segment
            with collector.paused():  # everything that is read stays alive: looking for garbage takes a quarter of the time
                self._scan(more)
            if more:
                self.segment, self.offset, self.number = self.segment + 1, 0, 0
        return self.seq - before

    def goes_on(self) -> bool:
        """Reads on as `refresh` does, and returns True, if what was read is still there; else the log must be read again.

        Each checksum continues the one before, so the last one stands for all lines.
        """
        mark = f'"{self.crc:08x}"}}\n'.encode()
        with suppress(FileNotFoundError), only_reading():
            if self.offset >= len(mark) and self.fs.read(self.path, self.offset - len(mark), len(mark)) == mark:
                self.refresh()
                return True
        return False

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

    def _segments(self) -> list[int]:
        return [int(match[1]) for match in map(_SEGMENT_NAME.fullmatch, self.fs.list(self.home)) if match]

    def _scan(self, more: bool) -> None:
        try:
            if self.fs.size(self.path) > SEGMENT + LINE:
                raise self._damaged("the file is too large")
            data = self.fs.read(self.path, self.offset)
        except FileNotFoundError:
            why = f"{self.path} is missing, but later files of the log exist: restore it from a copy."
            raise LogDamaged(f"{why} {counted(self.seq, 'line')} before it can be trusted.") from None
        at, why = 0, "incomplete line"
        while (end := data.find(b"\n", at := self._take_usual(data, at))) >= 0:
            try:
                entry, line = self._decoded(data[at:end])
                if entry.seq != self.seq or entry.epoch < self.epoch:
                    raise ValueError("the line of another writer")
            except UsageError:
                raise  # a newer format
            except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
                why = in_short(error)
                break
            try:
                self.take(entry, line)
            except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, OSError) as error:
                # Its checksum holds, so it was acknowledged: it is not a torn line, and must never be cut off.
                self.offset += at
                raise self._damaged(f"its {entry.type} cannot be read ({in_short(error)})") from error
            self.number += 1
            at = end + 1
        self.offset += at
        rest = data[at:]
        first = _HEADER.match(rest)
        if rest and (more or (first and int(first[1]) != self.seq) or _HEADER.search(rest, 1)):
            raise self._damaged(why)  # lines follow, or there was another one here: a crash does not leave that
        self.torn = len(rest)

    def _take_usual(self, data: bytes, at: int) -> int:
        """Takes the usual lines from byte `at` on, and returns where they end, whatever the next line is."""
        while texts := self._blocks.next(data, at):
            crcs = checksums(texts, self.crc)
            taken = self._take_checked(texts[: len(crcs)], crcs)
            if taken < len(crcs):
                entries = self._usual.entries(texts[taken : len(crcs)], self._blocks.tagged)
                taken += self._take_entries(entries, crcs[taken:])
            at += sum(map(len, texts[:taken])) + taken
            if not self._blocks.seen(taken == len(texts)):
                break
        return at

    def _take_checked(self, texts: list[bytes], crcs: list[int]) -> int:
        """Takes lines with their checksums whose facts are made when they are needed, and returns their number."""
        few = sum(map(len, texts)) < MANY  # as where a log is followed: their columns would take more memory than their facts
        if few or self.order is None or not (entries := self._usual.checked(texts, self._blocks.tagged)):
            return 0
        n, epochs = len(entries), [entry.e for entry in entries]
        if (
            [entry.q for entry in entries] != [*range(self.seq, self.seq + n)]
            or [self.epoch, *epochs] != sorted([self.epoch, *epochs])
            or any([entry.v != VERSION for entry in entries])
        ):
            return 0  # the line that cannot follow is decoded again, in a way that says what is wrong
        try:
            times = [self._time_of(entry.w) for entry in entries]
            kinds = [RESULTS if is_results(entry) else TASKS for entry in entries]
            told = gather(kinds, [entry.d for entry in entries])
        except REFUSED:
            return 0
        if not self.order.follow_all(told):
            return 0
        self._gathered.append((len(self.lines), told))
        self.lines.append_unread(texts[:n], self._usual.made)
        self.times.extend(times)
        self.seq, self.epoch, self.crc, self._last, self.number = (
            self.seq + n,
            epochs[-1],
            crcs[n - 1],
            times[-1],
            self.number + n,
        )
        return n

    def _take_entries(self, entries: list[Json], crcs: list[int]) -> int:
        """Takes decoded lines with their checksums, up to the first that cannot follow, and returns their number."""
        order, time_of, facts_of, lines, times = self.order, self._time_of, self._usual.facts, self.lines, self.times
        begin, seq, epoch, time = self.seq, self.seq, self.epoch, self._last
        with suppress(ValueError):  # such a line is decoded again, in a way that says what is wrong
            for entry in entries:
                if entry.q != seq or entry.e < epoch or entry.v != VERSION or (line := facts_of(entry)) is None:
                    break
                at = time_of(entry.w)
                if order is not None:
                    order.follow(line)
                lines.append(line)
                times.append(at)
                seq, epoch, time = seq + 1, entry.e, at
        if taken := seq - begin:
            self.seq, self.epoch, self.crc, self._last, self.number = seq, epoch, crcs[taken - 1], time, self.number + taken
        return taken

    def _decoded(self, text: bytes) -> tuple[Entry, Line | None]:
        """Returns the content of a line, and its facts if they were decoded before."""
        return decode_line(text, self.crc), None

    def _damaged(self, why: str) -> LogDamaged:
        return LogDamaged(
            f"{self.path} line {self.number + 1} (byte {self.offset}): {why}; {counted(self.seq, 'line')} "
            "before it can be trusted. Restore the file from a copy. Or, to continue from there, save a copy of the directory, "
            f"`truncate -s {self.offset} {self.path.name}`, remove any later log-*.jsonl, and resume."
        )


def read(directory: Path | str, fs: FS = default) -> Record:
    """Returns the record of a run, without locking or writing; a torn last line is left out.

    Raises:
        UsageError: the directory holds no run.
        LogDamaged: a line in the middle is bad.
        Unreadable: the system does not let us read the log.
    """
    check_place("directory", directory)
    record = Record(Path(directory).resolve(), fs)
    with only_reading():
        record.refresh()
    if not record.seq:
        raise UsageError(f"no log in {directory}: pass the directory of a run, the one that contains {segment_name(1)}.")
    return record
