"""The file of metrics that a program writes: what is new in it, and that no other program writes it at the same time."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from poptrain.core.errors import MetricError, UsageError
from poptrain.core.fingerprint import short_hash
from poptrain.executors.command.lines import object_of, objects_in
from poptrain.executors.command.reported import Found
from poptrain.log.disk import default as disk

Stamp = tuple[int, int, int]
PREFIX = "poptrain-metrics-"  # of files in the temporary directory that are locked while a program runs


@dataclass(frozen=True)
class MetricsFile:
    """A file as it was before the program ran."""

    path: Path
    stamp: Stamp | None  # None: there was no file
    digest: bytes = b""

    @classmethod
    def at(cls, path: Path) -> MetricsFile:
        """Returns the file as it is now."""
        stamp = _stamp(path)
        return cls(path, stamp, b"" if stamp is None else _digest(path, stamp[2]))

    def read(self, metric: str = "") -> Found:
        """Returns the metrics that the program has written: one JSON object, or several of which later ones replace values.

        Of a file that the program has appended to, only what is new counts.

        Raises:
            MetricError: the program did not write it, or wrote no JSON object.
        """
        name, now = self.path.name, _stamp(self.path)
        if now is None:
            what = "it is a directory" if self.path.is_dir() else f"looked for {str(self.path.absolute())!r}"
            raise MetricError(f"the command did not write the file {name!r}, which metrics= names: {what}.")
        if now == self.stamp and _digest(self.path, now[2]) == self.digest:  # the clock of some disks is coarse
            raise MetricError(
                f"the command did not write the file {name!r}, which metrics= names, in this call: it was not touched, and "
                "holds the metrics of an earlier call. Write it at the end of every call."
            )
        kept = 0 if self.stamp is None else self.stamp[2]
        if kept > now[2] or _digest(self.path, kept) != self.digest:
            kept = 0  # it was written anew
        text = self._text(kept)
        if kept and not text.strip():  # the same text was written again
            text, kept = self._text(0), 0
            if text.strip() and object_of(text) is None:
                raise MetricError(
                    f"the command wrote the file {name!r}, which metrics= names, without adding a line: it holds the metrics of "
                    "earlier calls. Add a line with the score at the end of every call."
                )
        found = Found(metric)
        for each in objects_in(text):
            found.take(each)
        if not found.metrics:
            more = " among what this call has added" if kept else ""
            raise MetricError(f'the file {name!r}, which metrics= names, holds no JSON object such as {{"score": 0.9}}{more}.')
        return found

    def _text(self, begin: int) -> str:
        """Returns what the file holds from a position on."""
        try:
            with self.path.open("rb") as file:
                file.seek(begin)
                return file.read().decode("utf-8", "replace")
        except OSError as error:
            why = error.strerror or error
            raise MetricError(f"the file {self.path.name!r}, which metrics= names, cannot be read: {why}.") from None


@contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """Holds a lock for a file, on this machine, so that no other call of a program writes it inside the block.

    Raises:
        UsageError: another one holds it.
    """
    place = os.path.realpath(path)
    file = Path(tempfile.gettempdir()) / f"{PREFIX}{os.getuid()}-{short_hash(os.fsencode(place))}"
    while (lock := disk.lock(file)) is not None and not _is_open(lock, file):
        os.close(lock)  # the one that had it has just removed it
    if lock is None:
        raise UsageError(
            f"command: another program is running that writes {place!r}, which metrics= names, so each could read the metrics of "
            "the other. Put {checkpoint} into the path, such as metrics='{checkpoint}/metrics.json', so that every member has "
            "its own file."
        )
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(lock)


def _is_open(descriptor: int, path: Path) -> bool:
    """True if a descriptor is of the file that has this path now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _stamp(path: Path) -> Stamp | None:
    """Returns what changes when a file is written; None if the path is not that of a file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return None if path.is_dir() else (found.st_mtime_ns, found.st_ino, found.st_size)


def _digest(path: Path, size: int) -> bytes:
    """Returns the hash of the first `size` bytes; of nothing if the file cannot be read."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while size > 0 and (data := file.read(min(size, 1 << 20))):
                found.update(data)
                size -= len(data)
    except OSError:
        return b""
    return found.digest()
