"""The log: the run itself, as an append-only file of checked lines; `codec` says how they look, `record` reads them.

A line is acknowledged when `Log.append` returns: it is on the disk, and whatever it decided may be acted on. What a
crash leaves of a line that was not acknowledged is cut off, and kept aside, when the log is opened again. Scores have
the user's sign.
"""

from __future__ import annotations

import errno
import json
import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from poptrain.core import Line, Lost, Result, Task, clock
from poptrain.core.errors import RunBusy, Suspended, UsageError
from poptrain.log.codec import Entry, decode_line, encode_facts, encode_line
from poptrain.log.disk import FS, default
from poptrain.log.reader import LINE, SEGMENT, Record, as_line, exists, read

__all__ = ["Log", "MemoryLog", "Record", "exists", "read"]

_RESERVE = 1 << 20  # bytes given up when the disk is full, so that the reason can still be written down


class Log:
    """The one writer of a run directory. Make it with `create` or `open`; it is a context manager."""

    segment_bytes = SEGMENT  # after so many, the next line begins a new file

    def __init__(self, record: Record, lock: int, durable: bool):
        self.record, self.fs, self.durable = record, record.fs, durable
        self._lock, self._fd = lock, -1
        self._broken: Suspended | RunBusy | None = None  # why nothing may be written any more

    @property
    def epoch(self) -> int:
        """How often this run has been opened for writing, this time included."""
        return self.record.epoch

    @classmethod
    def create(cls, directory: Path | str, run: dict[str, Any], *, fs: FS = default, durable: bool = True) -> Log:
        """Starts a log in a directory that holds none; makes the directory.

        Args:
            run: what the run is (seed, mode, names …), as JSON can say it; `Record` reads seed, mode and budget.
            durable: False leaves out the fsyncs: such a run survives a killed process, but not a power cut.

        Raises:
            UsageError: there is a run already, or the directory cannot be written.
            RunBusy: another process writes here.
        """
        path = Path(directory).absolute()
        missing = [place for place in (path, *path.parents) if not place.exists()]
        lock = -1
        try:
            for place in reversed(missing):
                fs.make_dir(place)
            path = path.resolve()
            lock = _take_lock(path, fs)
            log = cls(Record(path, fs), lock, durable)
            log._start(directory, run)
            if durable:
                for place in (path, *(place.parent for place in missing)):
                    fs.fsync_dir(place)
            log._opened()
            return log
        except (OSError, Suspended) as error:  # nothing was acknowledged: there is nothing to resume
            _close(fs, lock)
            raise UsageError(_cannot_start(directory, path, error)) from error
        except BaseException:
            _close(fs, lock)
            raise

    @classmethod
    def open(cls, directory: Path | str, *, fs: FS = default) -> Log:
        """Opens a log to go on: takes the lock, checks every line, mends a torn end, and begins an epoch.

        Raises:
            UsageError: there is no run.
            RunBusy: another process writes here.
            LogDamaged: a line in the middle is bad.
        """
        if not exists(directory, fs):
            read(directory, fs)  # raises, before anything is made in a wrong directory
        path = Path(directory).resolve()
        lock = _take_lock(path, fs)
        try:
            record = read(path, fs)
            log = cls(record, lock, record.run.get("durable", True))
            log._fd = fs.open_append(record.path)
            torn, file = record.torn, log._mend() if record.torn else ""
            record.epoch += 1
            log._opened()
            if torn:
                log.note("recovered", file=file, bytes=torn)
            if log.durable:
                fs.fsync_dir(path)  # a file that a killed writer had just begun
            return log
        except BaseException:
            _close(fs, lock)
            raise

    def append(self, facts: Sequence[Task] | Sequence[Result] | Lost) -> None:
        """Writes one line of facts; when it returns, they are durable.

        Raises:
            Suspended: the disk did not take it; nothing of it counts, and the run can be resumed.
            RunBusy: another process wrote to this log.
        """
        if line := as_line(facts):
            self._write(*encode_facts(line), line)

    def note(self, type: str, /, **fields: Any) -> None:
        """Writes one line of administration, just as durably."""
        self._write(type, fields)

    def close(self) -> None:
        """Ends writing and frees the directory for others."""
        _close(self.fs, self._fd, self._lock)
        self._fd = self._lock = -1
        self._broken = self._broken or Suspended(f"the log in {self.record.directory} is closed")

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- one line -----------------------------------------------------------------------------------------------------

    def _write(self, type: str, data: Any, line: Line | None = None) -> None:
        record, fs = self.record, self.fs
        if self._broken:
            raise self._broken
        if record.offset >= self.segment_bytes:
            self._next_segment()
        wall = clock.utc()
        text, crc = encode_line(type, data, seq=record.seq, epoch=record.epoch, wall=wall, crc=record.crc)
        if len(text) > LINE:
            raise UsageError(f"{type}: a line of {len(text):,} bytes, over the {LINE:,} allowed: return fewer metrics.")
        if fs.size(self._fd) != record.offset:  # a lock can lie (network disks); the length of the file cannot
            self._broken = RunBusy(f"another process wrote to {record.path}: it took the run over, this one stops.")
            raise self._broken
        try:
            if fs.append(self._fd, text, record.path) != len(text):
                raise fs.suspended(OSError(errno.ENOSPC, ""), record.path)
            if self.durable:
                self._sync()
        except BaseException as error:
            self._cut_back()
            if isinstance(error, Suspended):
                fs.remove(record.directory / "log.reserve")  # so that `suspend` finds room
            raise
        entry = Entry(type, data, record.seq, record.epoch, wall, crc) if line else decode_line(text[:-1], record.crc)
        record.take(entry, line)
        record.offset, record.number = record.offset + len(text), record.number + 1

    def _sync(self) -> None:
        try:
            self.fs.sync(self._fd, self.record.path)
        except Suspended as error:
            # The kernel may have dropped the pages and called them clean: another fsync would succeed and mean nothing.
            self._broken = error
            raise

    def _cut_back(self) -> None:
        try:
            self.fs.truncate(self._fd, self.record.offset, self.record.path)
        except Suspended as error:
            self._broken = error  # what lies there is found torn, or whole, when the log is opened again

    def _next_segment(self) -> None:
        record, old = self.record, self._fd
        self.fs.sync(old, record.path)  # a reader takes a torn end that another file follows for damage
        record.segment += 1
        try:
            self._fd = self.fs.open_append(record.path, create=True)
        except BaseException:
            record.segment -= 1
            raise
        record.offset = record.number = 0
        self.fs.close(old)
        if self.durable:
            self.fs.fsync_dir(record.directory)

    # -- the first line and the last ----------------------------------------------------------------------------------

    def _start(self, directory: Path | str, run: dict[str, Any]) -> None:
        record, fs = self.record, self.fs
        record.refresh()
        if record.seq:
            raise UsageError(
                f"{directory} already contains a run ({record.summary()}). "
                f"Use `poptrain resume {directory}`, or another directory."
            )
        fs.remove(record.path)  # of a creation that was cut short: nothing in it had been acknowledged
        self._fd = fs.open_append(record.path, create=True)
        self._write("run", {**run, "durable": self.durable})
        record.epoch = 1

    def _mend(self) -> str:
        """Cuts off what is no line, keeps it in a file, and returns the name of that."""
        record, fs = self.record, self.fs
        taken = fs.list(record.directory)
        stem = f"log.torn-{record.epoch + 1}"
        names = (stem, *(f"{stem}-{k}" for k in range(2, len(taken) + 3)))
        name = next(name for name in names if name not in taken)  # taken: a crash after the cut, before the epoch
        fs.write_new(record.directory / name, fs.read(record.path, record.offset))
        fs.fsync_dir(record.directory)  # kept before it is cut off
        fs.truncate(self._fd, record.offset, record.path)
        fs.sync(self._fd, record.path)
        record.torn = 0
        return name

    def _opened(self) -> None:
        reserve = self.record.directory / "log.reserve"
        try:
            if not self.fs.exists(reserve):
                self.fs.write_new(reserve, bytes(_RESERVE), sync=False)
        except Suspended:
            self.fs.remove(reserve)
        versions = {"python": platform.python_version(), "numpy": np.__version__}
        with suppress(metadata.PackageNotFoundError):  # run from a source tree
            versions["poptrain"] = metadata.version("poptrain")
        self.note("open", host=platform.node(), pid=os.getpid(), versions=versions)


class MemoryLog:
    """The log of a run without a directory: the same interface, and nothing but lists behind it."""

    durable, epoch = False, 1

    def __init__(self, run: dict[str, Any]):
        self.record = Record()
        self.record.run, self.record.epoch = dict(run), 1
        self.note("open")

    def append(self, facts: Sequence[Task] | Sequence[Result] | Lost) -> None:
        if line := as_line(facts):
            self.record.note("", None, clock.now(), line)

    def note(self, type: str, /, **fields: Any) -> None:
        self.record.note(type, fields, clock.now())

    def close(self) -> None:
        pass

    def __enter__(self) -> MemoryLog:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _take_lock(directory: Path, fs: FS) -> int:
    fs.check_owner(directory)
    path = directory / "lock"
    fd = fs.lock(path)
    if fd is None:
        try:
            holder = "process {pid} on {host} since {since}".format(**json.loads(fs.read(path)))
        except (ValueError, KeyError, OSError):
            holder = "another process"
        raise RunBusy(f"{directory} is being written by {holder}: wait for it, or stop it. Reading is always possible.")
    try:
        text = json.dumps({"pid": os.getpid(), "host": platform.node(), "since": clock.utc()}) + "\n"
        fs.truncate(fd, 0, path)
        fs.append(fd, text.encode(), path)
    except BaseException:
        fs.close(fd)
        raise
    return fd


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
