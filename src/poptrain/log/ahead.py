"""Decodes the later files of a long log in other processes, while this one reads the first ones.

Nearly all of the time in which a long log is opened goes into decoding its lines, which needs nothing of the lines before but
what stands in the last of them: its number, epoch and checksum. So a process can begin with any file. What it found is only a
proposal: the reader uses it if the line before it is the one that the process continued, and if the bytes are the same.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np

from poptrain.core import Json, collector
from poptrain.core.cpus import cpus
from poptrain.core.forks import Fork, can_fork, forks
from poptrain.core.gathered import Gathered
from poptrain.log.disk import FS, default
from poptrain.log.finding import segment_name
from poptrain.log.pieces import Mark, Piece, Pieces

WORTH = 32 << 20  # bytes after the first file for which another process is worth it
FEW = 16 << 10  # bytes of lines that are as well read by the first process
OTHERS, TAKING = (
    0.85,
    0.25,
)  # times for a file, where reading it without other processes takes 1: in another, and of what it found
MOST = 4  # processes: more would wait for the first one, and take memory
_LINE = re.compile(rb'\{"v":\d+,"q":(\d+),"e":(\d+),"w":".*,"c":"([0-9a-f]{8})"\}', re.DOTALL)
_TAIL = 1 << 20  # bytes of a file that hold its last line, but for the very longest


class Found(NamedTuple):
    """What a process found in a part of a file."""

    begin: int  # byte of the file
    end: int  # of the last newline, and 1
    crc: int  # of these bytes
    piece: Piece


class _Place(NamedTuple):
    """Where the process left what it found."""

    begin: int
    end: int
    crc: int
    before: Mark
    after: Mark
    lengths: list[int]  # of the columns
    at: int  # byte of the memory


class Ahead:
    """What other processes find in the files of a log; a process that died found nothing more."""

    def __init__(self) -> None:
        self._sources: dict[int, tuple[Fork, int]] = {}  # by file: the process that reads it, and the memory that it writes to
        self._texts: dict[Fork, bytes] = {}  # that came from each process, and were not looked at
        self._next: dict[int, list[_Place]] = {}  # by file: what was found and not asked for

    def next(self, file: int, at: int) -> int | None:
        """Returns the byte from which on the next lines of a file were decoded, at or after byte `at`; None if none will be.

        It waits for the process that reads the file.
        """
        if file not in self._sources:
            return None
        places = self._next.setdefault(file, [])
        while True:
            while places and places[0].begin < at:
                del places[0]
            if places:
                return places[0].begin
            if not self._receive(file):
                del self._sources[file]
                return None

    def take(self, file: int) -> Found | None:
        """Returns what was found from the byte on that `next` returned; None if it can't be read."""
        place = self._next[file].pop(0)
        columns: list[Json] = []  # arrays
        at = place.at
        for length, kind in zip(place.lengths, [np.float64, *_KINDS], strict=True):
            columns.append(column := np.empty(length, kind))
            if length and os.preadv(self._sources[file][1], [column.data.cast("B")], at) < column.nbytes:
                return None
            at += column.nbytes
        times, *told = columns
        return Found(place.begin, place.end, place.crc, Piece(place.before, place.after, times, Gathered(*told)))

    def _receive(self, file: int) -> bool:
        """Reads one message of the process that reads a file; False after the last one about this file."""
        child, _ = self._sources[file]
        while b"\n" not in self._texts.setdefault(child, b""):
            if not (text := os.read(child.pipe, 1 << 16)):
                return False
            self._texts[child] += text
        line, _, self._texts[child] = self._texts[child].partition(b"\n")
        about, place = json.loads(line)
        if place is None:
            return bool(about != file)
        begin, end, crc, before, after, lengths, at = place
        self._next.setdefault(about, []).append(_Place(begin, end, crc, Mark(*before), Mark(*after), lengths, at))
        return True


_KINDS = [np.float64 if name == "score" else np.int64 for name in Gathered._fields]


@contextmanager
def reading_ahead(fs: FS, home: Path, files: Sequence[int], most: int) -> Iterator[Ahead]:
    """Yields what other processes will find in the files of a log; nothing where that is not worth it, or not known to be safe.

    Args:
        files: numbers of the files that will be read, in order.
        most: bytes of the longest file.
    """
    ahead, shares = Ahead(), shares_of(files, cpus()) if _worth_it(fs, home, files) and can_fork() else []
    memories: list[int] = []
    try:
        with suppress(OSError, AttributeError):  # no room, or not known to the system
            memories += [os.memfd_create("poptrain") for _ in shares]
        shares = shares[: len(memories)]
        with forks([partial(_decode, fs, home, most, *each) for each in zip(shares, memories, strict=True)]) as children:
            for child, share, memory in zip(children, shares, memories, strict=True):
                if child is not None:
                    ahead._sources |= dict.fromkeys(share, (child, memory))
            yield ahead
    finally:
        ahead._sources.clear()
        for memory in memories:
            os.close(memory)


def _worth_it(fs: FS, home: Path, files: Sequence[int]) -> bool:
    try:
        return fs is default and sum([fs.size(home / segment_name(file)) for file in files[1:]]) > WORTH
    except FileNotFoundError:
        return False  # the reader will say so


def shares_of(files: Sequence[int], processes: int) -> list[list[int]]:
    """Returns the files that each other process reads, so that all have about as much to do; the first files are left out."""
    others = min(processes, MOST) - 1
    if others < 1:
        return []
    own = max((OTHERS / others - TAKING) / (1 - TAKING + OTHERS / others), 0.0)
    rest = files[max(1, round(own * len(files))) :]
    return [share for first in range(others) if (share := list(rest[first::others]))]


def _decode(fs: FS, home: Path, most: int, files: Sequence[int], memory: int, pipe: int) -> None:
    """Decodes files into a memory, and says over the pipe what is where; ends at the first thing that is not as it should be."""
    pieces, written = Pieces(), 0

    def say(file: int, place: _Place | None) -> None:
        text = memoryview(json.dumps([file, place]).encode() + b"\n")
        while text:
            text = text[os.write(pipe, text) :]

    with collector.paused():
        for file in files:
            mark, at = _last_mark(fs, home / segment_name(file - 1)), 0
            data = fs.read(home / segment_name(file), 0, most)
            while mark is not None and at < len(data):
                piece, end = pieces.longest(data, at, mark)
                if piece is not None and end - at >= FEW:
                    columns = [piece.times, *piece.told]
                    sum = crc32(memoryview(data)[at:end])
                    say_at, written = written, _write(memory, columns, written)
                    say(file, _Place(at, end, sum, mark, piece.after, list(map(len, columns)), say_at))
                newline = data.find(b"\n", end)  # of a line that this process does not know
                mark, at = _mark(data[end:newline]), newline + 1 if newline >= 0 else len(data)
            say(file, None)


def _write(memory: int, columns: Sequence[np.ndarray], at: int) -> int:
    for column in columns:
        view = np.ascontiguousarray(column).data.cast("B")
        while view:
            written = os.pwrite(memory, view, at)
            view, at = view[written:], at + written
    return at


def _last_mark(fs: FS, path: Path) -> Mark | None:
    """Returns what the first line of the next file continues, if this file looks as if it is complete."""
    text = fs.read(path, max(0, fs.size(path) - _TAIL))
    return _mark(text[text.rfind(b"\n", 0, -1) + 1 : -1]) if text.endswith(b"\n") else None


def _mark(line: bytes) -> Mark | None:
    """Returns what the line after this one continues."""
    match = _LINE.fullmatch(line)
    return Mark(int(match[1]) + 1, int(match[2]), int(match[3], 16)) if match else None
