"""Writing a log: an append-only file of checked lines. `codec` defines the lines, `reader` reads them.

A line is acknowledged when `Log.append` returns. Then it is on the disk, and the program may act on it. If a crash leaves a
part of a line that was not acknowledged, the next `Log.open` cuts it off and keeps it in another file. Scores have the user's
sign.
"""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from poptrain.core import Json, Line, Lost, Result, Task, as_line, clock
from poptrain.core.commands import poptrain
from poptrain.core.counting import counted
from poptrain.core.errors import RunBusy, Suspended, UsageError
from poptrain.core.user_objects import is_interrupt, text_of
from poptrain.log.codec import Entry, decode_line, encode_facts, encode_line
from poptrain.log.disk import FS, default
from poptrain.log.finding import exists
from poptrain.log.lock import take_lock
from poptrain.log.memory import MemoryLog
from poptrain.log.reader import LINE, SEGMENT, Record, read

__all__ = ["Log", "LogWriter", "MemoryLog", "Record", "exists", "read"]

_RESERVE = 1 << 20  # bytes that are freed when the disk is full, so that the reason can still be written


class LogWriter(Protocol):
    """What the engine writes a run into: `Log` in a directory, or `MemoryLog`. It is a context manager."""

    @property
    def record(self) -> Record:
        """Everything that was written so far."""
        ...

    @property
    def epoch(self) -> int:
        """How often this run has been opened for writing, this time included."""
        ...

    def append(self, facts: Sequence[Task] | Sequence[Result] | Lost, *, checked: bool = False) -> None:
        """Writes one line of facts. When it returns, the caller may act on them.

        Args:
            checked: the caller knows that each fact is well-formed, and that the line can follow.
        """
        ...

    def note(self, type: str, /, **fields: Json) -> None:
        """Writes one line of administration, which algorithms never see."""
        ...

    def close(self) -> None:
        """Ends writing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Log:
    """The only writer of a run directory. Make it with `create` or `open`. It fulfils `LogWriter`."""

    segment_bytes = SEGMENT  # in a file; after that the next line begins a new one

    def __init__(self, record: Record, lock: int, durable: bool):
        self.record, self.fs, self.durable = record, record.fs, durable
        self._lock, self._fd = lock, -1
        self._broken: Suspended | RunBusy | None = None  # why nothing may be written now

    @property
    def epoch(self) -> int:
        """How often this run has been opened for writing, this time included."""
        return self.record.epoch

    @classmethod
    def create(cls, directory: Path | str, run: Mapping[str, Json], *, fs: FS = default, durable: bool = True) -> Log:
        """Returns a new log in a directory that has none; makes the directory.

        Args:
            run: the description of the run (seed, mode, names …) as JSON; `Record` reads seed, mode and budget.
            durable: False leaves out the fsyncs: such a run survives a killed process, but not a power cut.

        Raises:
            UsageError: the directory holds a run already, or cannot be written.
            RunBusy: another process writes there.
        """
        path = Path(directory).absolute()
        missing = [place for place in (path, *path.parents) if not place.exists()]
        lock, log = -1, None
        try:
            for place in reversed(missing):
                fs.make_dir(place)
            path = path.resolve()
            lock = take_lock(path, fs)
            log = cls(Record(path, fs), lock, durable)
            log._start(directory, run)
            if durable:
                for place in (path, *(place.parent for place in missing)):
                    fs.fsync_dir(place)
            log._opened()
            return log
        except BaseException as error:
            _close(fs, lock, -1 if log is None else log._fd)
            if isinstance(error, OSError | Suspended):  # nothing was acknowledged, so there is nothing to resume
                raise UsageError(_cannot_start(directory, path, error)) from error
            raise

    @classmethod
    def open(cls, directory: Path | str, *, before: Record | None = None, fs: FS = default) -> Log:
        """Returns the log of a run that is continued: takes the lock, checks every line, cuts off a torn end, begins an epoch.

        Args:
            before: what was read of it without the lock. If it still holds, only the lines after it are read.

        Raises:
            UsageError: the directory holds no run.
            RunBusy: another process writes there.
            LogDamaged: a line in the middle is bad.
        """
        if not exists(directory, fs):
            read(directory, fs)  # raises, before a file is made in a wrong directory
        path = Path(directory).resolve()
        lock, log = take_lock(path, fs), None
        try:
            record = read(path, fs) if before is None or not before.goes_on() else before
            log = cls(record, lock, record.run.get("durable", True))
            log._fd = fs.open_append(record.path)
            torn, file = record.torn, log._cut_torn_end() if record.torn else ""
            record.epoch += 1
            log._opened()
            if torn:
                log.note("recovered", file=file, bytes=torn)
            if log.durable:
                fs.fsync_dir(path)  # a file that a killed writer had just begun
            return log
        except BaseException:
            _close(fs, lock, -1 if log is None else log._fd)
            raise

    def append(self, facts: Sequence[Task] | Sequence[Result] | Lost, *, checked: bool = False) -> None:
        """Writes one line of facts. When it returns, they are durable.

        Args:
            checked: the caller knows that each fact is well-formed, and that the line can follow.

        Raises:
            UsageError: the line cannot follow, so it could not be read again. Nothing is written.
            Suspended: the disk refused it. Nothing of the line counts, and the run can be resumed.
            RunBusy: another process wrote to this log.
        """
        if line := as_line(facts):
            if not checked:
                self.record.check(line)
            self._write(*encode_facts(line), line)

    def note(self, type: str, /, **fields: Json) -> None:
        """Writes one line of administration, which is as durable."""
        self._write(type, fields)

    def close(self) -> None:
        """Ends writing and releases the lock of the directory."""
        _close(self.fs, self._fd, self._lock)
        self._fd = self._lock = -1
        self._broken = self._broken or Suspended(f"the log in {self.record.directory} is closed")

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- one line -----------------------------------------------------------------------------------------------------

    def _write(self, type: str, data: Json, line: Line | None = None) -> None:
        record, fs = self.record, self.fs
        if self._broken:
            raise self._broken
        if record.offset >= self.segment_bytes:
            self._next_segment()
        wall = clock.utc()
        try:
            text, crc = encode_line(type, data, seq=record.seq, epoch=record.epoch, wall=wall, crc=record.crc)
        except BaseException as error:
            if is_interrupt(error):
                raise
            raise UsageError(f"{type}: the line cannot be written: {text_of(error, 300)}.") from error
        if len(text) > LINE:
            raise UsageError(
                f"{type}: the line has {counted(len(text), 'byte')}, but at most {LINE:,} are allowed: return fewer metrics."
            )
        if not fs.in_place(self._fd, record.offset, record.path):
            self._broken = self._lost()
            raise self._broken
        try:
            if fs.append(self._fd, text, record.path) != len(text):
                raise fs.suspended(OSError(errno.ENOSPC, ""), record.path)
            if self.durable:
                self._sync()
        except BaseException as error:
            self._cut_back()
            if isinstance(error, Suspended):
                fs.remove(record.home / "log.reserve")  # so that there is space for `suspend`
            raise
        entry = Entry(type, data, record.seq, record.epoch, wall, crc) if line else decode_line(text[:-1], record.crc)
        record.take(entry, line)
        record.offset, record.number = record.offset + len(text), record.number + 1

    def _lost(self) -> RunBusy | Suspended:
        """Returns the error for a log that is no longer this one's alone."""
        path = self.record.path
        try:
            size = self.fs.size(self._fd)
        except OSError as error:
            return Suspended(
                f"code in this process closed the file of the log {path} ({error.strerror}): close only what you have opened. "
                f"Then `{poptrain('resume', self.record.directory)}`."
            )
        if size != self.record.offset:  # a lock can lie (network disks); the length of the file cannot
            return RunBusy(f"another process wrote to {path}: that process continues the run, and this one stops.")
        return Suspended(
            f"the log {path} was removed, renamed or replaced during the run, which stops: what it does now could not be found "
            f"again. Put the file back, then `{poptrain('resume', self.record.directory)}`."
        )

    def _sync(self) -> None:
        try:
            self.fs.sync(self._fd, self.record.path)
        except Suspended as error:
            # The kernel may have dropped the pages and marked them as clean: another fsync would succeed without any effect.
            self._broken = error
            raise

    def _cut_back(self) -> None:
        try:
            self.fs.truncate(self._fd, self.record.offset, self.record.path)
        except Suspended as error:
            self._broken = error  # the next `open` finds the line torn, or whole

    def _next_segment(self) -> None:
        record, old = self.record, self._fd
        self.fs.sync(old, record.path)  # to a reader, a torn end before another file is damage
        record.segment += 1
        try:
            self._fd = self.fs.open_append(record.path, create=True)
        except BaseException:
            record.segment -= 1
            raise
        record.offset = record.number = 0
        self.fs.close(old)
        if self.durable:
            self.fs.fsync_dir(record.home)

    # -- the first line and the last ----------------------------------------------------------------------------------

    def _start(self, directory: Path | str, run: Mapping[str, Json]) -> None:
        record, fs = self.record, self.fs
        record.refresh()
        if record.seq:
            raise UsageError(
                f"{directory} already contains a run ({record.summary()}). "
                f"Use `{poptrain('resume', directory)}`, or another directory."
            )
        fs.remove(record.path)  # from a creation that was interrupted: nothing in it was acknowledged
        self._fd = fs.open_append(record.path, create=True)
        self._write("run", {**run, "durable": self.durable})
        record.epoch = 1

    def _cut_torn_end(self) -> str:
        """Moves an incomplete last line into a file of its own, and returns the name of that."""
        record, fs, home = self.record, self.fs, self.record.home
        taken = fs.list(home)
        stem = f"log.torn-{record.epoch + 1}"
        names = (stem, *(f"{stem}-{k}" for k in range(2, len(taken) + 3)))
        name = next(name for name in names if name not in taken)  # taken by a crash between the cut and the new epoch
        fs.write_new(home / name, fs.read(record.path, record.offset))
        fs.fsync_dir(home)  # it is kept before it is cut off
        fs.truncate(self._fd, record.offset, record.path)
        fs.sync(self._fd, record.path)
        record.torn = 0
        return name

    def _opened(self) -> None:
        reserve = self.record.home / "log.reserve"
        try:
            if not self.fs.exists(reserve):
                self.fs.write_new(reserve, bytes(_RESERVE), sync=False)
        except Suspended:
            self.fs.remove(reserve)
        versions = {"python": platform.python_version(), "numpy": np.__version__}
        with suppress(metadata.PackageNotFoundError):  # it runs from a source tree
            versions["poptrain"] = metadata.version("poptrain")
        self.note("open", host=platform.node(), pid=os.getpid(), versions=versions)


def _close(fs: FS, *fds: int) -> None:
    for fd in fds:
        if fd >= 0:
            fs.close(fd)


def _cannot_start(directory: Path | str, path: Path, error: OSError | Suspended) -> str:
    cause = error if isinstance(error, OSError) else error.__cause__
    why = getattr(cause, "strerror", None) or error
    place = next((place for place in (path, *path.parents) if place.exists()), path)
    return (
        f"cannot start a run in {directory}: {why} (you are user {os.geteuid()}, {place} has mode "
        f"{place.stat().st_mode & 0o777:04o}): choose a directory that you can write to."
    )


if TYPE_CHECKING:
    _FULFILLED: tuple[type[LogWriter], ...] = (Log, MemoryLog)
