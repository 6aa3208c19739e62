"""The sink that writes the digest of a run next to its log. Every run with a directory has it; see `views.digest`."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from zlib import crc32

from poptrain.core import History, Line, clock
from poptrain.log.ahead import Ahead
from poptrain.log.codec import Entry, checked, decode_line
from poptrain.log.reader import Record
from poptrain.views.digest import NAME, encoded
from poptrain.views.state import RunState

EVERY = 1.0  # seconds between two digests, at least
SHARE = 100  # a digest is written at most once in this many times the seconds that the last one took
LONGEST = 10.0  # seconds between two digests, at most
_FACTS = re.compile(rb'\{"v":\d+,"q":(\d+),"e":(\d+),"w":"([^"]*)","t":"(tasks|results|lost)",')


class Digest:
    """A sink that rewrites the digest of the run that it follows."""

    patience = 2.0

    def __init__(self) -> None:
        self.every = EVERY
        self._follower: _Follower | None = None

    def open(self, record: Record) -> None:
        """Begins to follow a record."""
        self._follower = _Follower(record)

    def write(self, record: Record, history: History | None) -> None:
        """Writes the digest of what is in the log by now."""
        if self._follower is not None and self._follower.refresh():
            began = clock.monotonic()
            self._follower.keep()
            self.every = min(max(EVERY, SHARE * (clock.monotonic() - began)), LONGEST)

    def close(self) -> None:
        """Does nothing: the last `write` was the digest of the whole log."""


class _Follower(Record):
    """Reads the log on the disk after its writer, with the facts of the writer's record: nothing is decoded twice."""

    def __init__(self, leader: Record):
        super().__init__(leader.directory, leader.fs)
        self.order = None  # the writer has checked every line
        self._writer = leader
        self._bytes_crc = 0  # CRC-32 of all bytes before the offset
        self._after: RunState | None = None  # begun after the first line, which holds the mode

    def _reading_ahead(self) -> AbstractContextManager[Ahead]:
        return nullcontext(Ahead())

    def _take_usual(self, data: bytes, at: int) -> int:
        return at

    def _decoded(self, text: bytes) -> tuple[Entry, Line | None]:
        match, number = _FACTS.match(text), len(self.lines)
        line: Line | None = None
        if match is None:
            entry = decode_line(text, self.crc)
        elif number < len(self._writer.times):
            entry = Entry(match[4].decode(), None, int(match[1]), int(match[2]), match[3].decode(), checked(text, self.crc))
            line = self._writer.lines[number]
        else:
            raise ValueError("the writer has not taken this line yet")
        self._bytes_crc = crc32(b"\n", crc32(text, self._bytes_crc))
        return entry, line

    def keep(self) -> None:
        """Puts the digest of what was read in the place of the one before."""
        if self.directory is None:
            return
        self._after = (self._after or RunState.begin(self)).read_on(self)
        path, fresh = self.directory / NAME, self.directory / f".{NAME}"
        self.fs.remove(fresh)
        self.fs.write_new(fresh, encoded(self, self._after, self._bytes_crc), sync=False)
        self.fs.rename(fresh, path)
