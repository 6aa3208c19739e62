"""Reading a log. It needs no lock and never writes, so any process may read a log at any time, and follow it while it grows.

A torn last line is left out, because a crash can tear the one line that was not acknowledged. Damage anywhere else raises an
error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from zlib import crc32

from poptrain.core import Json, Line, collector
from poptrain.core.arguments import check_place
from poptrain.core.counting import counted
from poptrain.core.errors import LogDamaged, UsageError
from poptrain.log.ahead import Ahead, reading_ahead
from poptrain.log.blocks import checksums
from poptrain.log.codec import VERSION, Entry, decode_line
from poptrain.log.content import Content, Event, Fields
from poptrain.log.disk import FS, default
from poptrain.log.finding import no_run, only_reading, segment_name
from poptrain.log.notes import in_short
from poptrain.log.pieces import Mark, Piece, Pieces

__all__ = ["LINE", "SEGMENT", "Event", "Fields", "Record", "read"]

SEGMENT = 64 << 20  # bytes after which a new file is begun
MANY = 16 << 10  # bytes of a block of lines from which on their facts are made when they are needed
LINE = 16 << 20  # bytes of the longest line that is allowed
_SEGMENT_NAME = re.compile(r"log-(\d{6,})\.jsonl")
_HEADER = re.compile(rb'\{"v":\d+,"q":(\d+),"e":\d+,"w":"')  # of a line; no hyperparameter or text can look like it


class Record(Content):
    """The content of a log, up to the line that was read last; `refresh` continues to read. Scores have the user's sign.

    Args:
        directory: of the run; None for a log in memory.
    """

    def __init__(self, directory: Path | None = None, fs: FS = default):
        super().__init__(directory, fs)
        self.torn = 0  # bytes after the last good line, which are not a line
        self._pieces, self._ahead = Pieces(), Ahead()

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
        before = self.seq
        with self._reading_ahead() as self._ahead:
            self._read_on()
        return self.seq - before

    def _read_on(self) -> None:
        more = True
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

    def _reading_ahead(self) -> AbstractContextManager[Ahead]:
        """Begins to decode the files after this one."""
        files = sorted([number for number in self._segments() if number >= self.segment])
        return reading_ahead(self.fs, self.home, files, SEGMENT + LINE)

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
        blocks = self._pieces.blocks
        while True:
            at, until = self._take_found(data, at)
            while texts := blocks.next(data, at, until):
                crcs = checksums(texts, self.crc)
                taken = self._take_checked(texts[: len(crcs)], crcs)
                if taken < len(crcs):
                    entries = self._pieces.usual.entries(texts[taken : len(crcs)], blocks.tagged)
                    taken += self._take_entries(entries, crcs[taken:])
                at += sum(map(len, texts[:taken])) + taken
                if not blocks.seen(taken == len(texts)):
                    return at
            if at < until or until == len(data):
                return at

    def _take_found(self, data: bytes, at: int) -> tuple[int, int]:
        """Takes the lines from byte `at` on that other processes have decoded.

        Returns the byte where they end, and the one from which on these processes know lines again.
        """
        while (begin := self._ahead.next(self.segment, self.offset + at)) == self.offset + at:
            if (found := self._ahead.take(self.segment)) is None:
                continue
            end = found.end - self.offset
            if crc32(memoryview(data)[at:end]) == found.crc and self._take_piece(found.piece, data[at : end - 1].split(b"\n")):
                at = end
        return at, len(data) if begin is None else begin - self.offset

    def _take_checked(self, texts: list[bytes], crcs: list[int]) -> int:
        """Takes lines with their checksums whose facts are made when they are needed, and returns their number."""
        few = sum(map(len, texts)) < MANY  # as where a log is followed: their columns would take more memory than their facts
        if few:
            return 0
        piece = self._pieces.of(texts, crcs, Mark(self.seq, self.epoch, self.crc), self._pieces.blocks.tagged)
        return len(piece.times) if piece is not None and self._take_piece(piece, texts) else 0

    def _take_piece(self, piece: Piece, texts: Sequence[bytes]) -> bool:
        """Takes the first of some lines, of which a piece tells, and returns True, if they can follow."""
        n = len(piece.times)
        if piece.before != (self.seq, self.epoch, self.crc) or not (self.order is None or self.order.follow_all(piece.told)):
            return False
        self._gathered.append((len(self.lines), piece.told))
        self.lines.append_unread(texts[:n], self._pieces.usual.made)
        self.times.frombytes(piece.times.tobytes())
        self.seq, self.epoch, self.crc = piece.after
        self._last, self.number = self.times[-1], self.number + n
        return True

    def _take_entries(self, entries: list[Json], crcs: list[int]) -> int:
        """Takes decoded lines with their checksums, up to the first that cannot follow, and returns their number."""
        order, lines, times = self.order, self.lines, self.times
        time_of, facts_of = self._pieces.time_of, self._pieces.usual.facts
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
        raise no_run(Path(directory))
    return record
