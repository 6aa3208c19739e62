"""What a log says, read without a lock: opened by anybody at any time, followed while it grows, never written.

A torn last line is left out, because a crash can tear the one line that was not acknowledged. Damage anywhere else is
never passed over in silence.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from poptrain.core import History, Line, Result, Task, clock
from poptrain.core.errors import LogDamaged, UsageError
from poptrain.log.codec import Entry, decode_facts, decode_line
from poptrain.log.disk import FS, default

SEGMENT = 64 << 20  # bytes after which a new file is begun
LINE = 16 << 20  # the longest line
_SEGMENT_NAME = re.compile(r"log-(\d{6,})\.jsonl")
_HEADER = re.compile(rb'\{"v":\d+,"q":(\d+),"e":\d+,"w":"')  # of a line; no hyperparameter or text can look like it


class Record:
    """What a log says, up to where it was read; `refresh` reads on. Scores have the user's sign."""

    def __init__(self, directory: Path | None = None, fs: FS = default):
        self.directory, self.fs = directory, fs
        self.run: dict[str, Any] = {}  # what the run is, as it was created
        self.lines: list[Line] = []  # the facts
        self.times: list[float] = []  # when each of `lines` was written, in seconds since 1970
        self.events: list[tuple[str, dict[str, Any], float]] = []  # administration: type, fields, time
        self.epoch = 0  # how often the run was opened for writing
        self.seq, self.crc = 0, 0  # number of the next line, checksum of the last
        self.segment, self.offset, self.number = 1, 0, 0  # where the next line begins: file, byte, lines before it
        self.torn = 0  # bytes behind the last good line that are no line
        self._state, self._spent, self._opened, self._last = "", 0.0, 0.0, 0.0

    def history(self, budget: int | None = None) -> History:
        """Returns the history that algorithms see, with maximised scores; the budget is the log's unless given."""
        sign = -1 if self.run.get("mode") == "min" else 1
        history = History(self.run.get("seed", 0), self.budget if budget is None else budget, sign)
        for line in self.lines:
            flip = sign < 0 and isinstance(line[0], Result)
            history = history.add([result.flipped() for result in line] if flip else line)
        return history

    @property
    def budget(self) -> int | None:
        """Lineage steps per member: the newest that was noted, else the one the run was created with."""
        noted = (fields["budget"] for type, fields, _ in reversed(self.events) if type == "budget")
        return next(noted, self.run.get("budget"))

    @property
    def file(self) -> dict[str, Any] | None:
        """The experiment file: what was noted last, else what the run was created with; None if there was none."""
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
        """Seconds of wall time over all sittings, each from its opening to its last line."""
        return self._spent + max(0.0, self._last - self._opened)

    def checkpoints(self) -> list[str]:
        """Returns the references of all results, without those that were collected."""
        gone = {name for type, fields, _ in self.events if type == "gc" for name in fields["ids"]}
        refs = [fact.checkpoint for line in self.lines for fact in line if isinstance(fact, Result)]
        return [ref for ref in refs if ref is not None and ref.partition(":")[0].partition("/")[0] not in gone]

    @property
    def has_results(self) -> bool:
        """True if at least one task was told."""
        return any(isinstance(line[0], Result) for line in self.lines)

    def summary(self) -> str:
        """Returns one phrase: how many tasks and results, and whether the run ended."""
        tasks = sum(len(line) for line in self.lines if isinstance(line[0], Task))
        results = sum(len(line) for line in self.lines if isinstance(line[0], Result))
        state = "finished" if self.finished else "suspended" if self.suspended else "not finished"
        return f"{tasks} tasks, {results} results, {state}"

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The file that the next line is read from or written to."""
        return self.directory / segment_name(self.segment)

    def refresh(self) -> int:
        """Reads what was written since and returns the number of new lines; never locks, never writes.

        Raises:
            LogDamaged: a line that is not the last one is bad.
        """
        if self.directory is None:
            return 0
        before, more = self.seq, True
        while more:
            # Files are listed before one is read: a writer is done with a file before it begins the next, so when there
            # is a next one, whatever is no line in this one was damaged later.
            newest = max(self._segments(), default=0)
            if newest < self.segment:
                break
            more = newest > self.segment
            with _no_garbage():
                self._scan(more)
            if more:
                self.segment, self.offset, self.number = self.segment + 1, 0, 0
        return self.seq - before

    def take(self, entry: Entry, line: Line | None = None) -> None:
        """Adds one line that was checked; `line`: its facts, if they are at hand."""
        time = clock.parse_utc(entry.wall)
        line = line or decode_facts(entry.type, entry.data, entry.version)
        if line is None and entry.type == "run":
            self.run = entry.data
        self.note(entry.type, entry.data, time, line)
        self.epoch, self.crc = entry.epoch, entry.crc

    def note(self, type: str, data: Any, time: float, line: Line | None = None) -> None:
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
        return [int(match[1]) for match in map(_SEGMENT_NAME.fullmatch, self.fs.list(self.directory)) if match]

    def _scan(self, more: bool) -> None:
        try:
            if self.fs.size(self.path) > SEGMENT + LINE:
                raise self._damaged("the file is too large")
            data = self.fs.read(self.path, self.offset)
        except FileNotFoundError:
            why = f"{self.path} is missing, and later ones are there: restore it from a copy."
            raise LogDamaged(f"{why} The {self.seq} lines before it are valid.") from None
        at, why = 0, "incomplete line"
        while (end := data.find(b"\n", at)) >= 0:
            try:
                entry, line = self._decoded(data[at:end])
                if entry.seq != self.seq or entry.epoch < self.epoch:
                    raise ValueError("a line of another writer")
                self.take(entry, line)
            except UsageError:
                raise  # a newer format
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                why = str(error)
                break
            self.number += 1
            at = end + 1
        self.offset += at
        rest = data[at:]
        first = _HEADER.match(rest)
        if rest and (more or (first and int(first[1]) != self.seq) or _HEADER.search(rest, 1)):
            raise self._damaged(why)  # lines follow, or another one was here: not what a crash leaves
        self.torn = len(rest)

    def _decoded(self, text: bytes) -> tuple[Entry, Line | None]:
        """Returns what a line says, and its facts if they are at hand."""
        return decode_line(text, self.crc), None

    def _damaged(self, why: str) -> LogDamaged:
        return LogDamaged(
            f"{self.path} line {self.number + 1} (byte {self.offset}): {why}; the {self.seq} lines before it are "
            "valid. Restore the file from a copy; or, to go on from what is valid, save a copy of the directory, "
            f"`truncate -s {self.offset} {self.path.name}`, remove any later log-*.jsonl, and resume."
        )


def read(directory: Path | str, fs: FS = default) -> Record:
    """Returns the record of a run, without locking or writing; a torn last line is left out.

    Raises:
        UsageError: there is no run.
        LogDamaged: a line in the middle is bad.
    """
    record = Record(Path(directory).resolve(), fs)
    record.refresh()
    if not record.seq:
        raise UsageError(f"no log in {directory}: give the directory of a run, the one that holds {segment_name(1)}.")
    return record


def exists(directory: Path | str, fs: FS = default) -> bool:
    """True if the directory holds a run, sound or not; a run whose very creation was cut short does not count."""
    try:
        head = fs.read(Path(directory) / segment_name(1), 0, limit=1 << 16)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return b"\n" in head or len(head) == 1 << 16


@contextmanager
def _no_garbage() -> Iterator[None]:
    # All that is read stays alive; looking for garbage in it, again and again, takes a quarter of the time.
    pause = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if pause:
            gc.enable()


def segment_name(number: int) -> str:
    """Returns the file name of a segment, counted from 1."""
    return f"log-{number:06d}.jsonl"


def as_line(facts: Sequence[Any] | Any) -> Line:
    """Returns facts as a line: a tuple."""
    return tuple(facts) if isinstance(facts, Sequence) else (facts,)
