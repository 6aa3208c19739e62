"""Digest: keeps what `status` needs of a long log beside it. Every run with a directory has this sink; see `views.digest`."""

from __future__ import annotations

import re
from zlib import crc32

from poptrain.core import History, Line, clock
from poptrain.log.codec import Entry, checked, decode_line
from poptrain.log.reader import Record
from poptrain.views.digest import NAME, encoded
from poptrain.views.facts import Facts
from poptrain.views.gauges import gauges_of

EVERY = 1.0  # seconds between two digests, at least
SHARE = 100  # and so many times as long as the last one took to write
LONGEST = 10.0
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

    def write(self, record: Record, history: History) -> None:
        """Writes the digest of what is in the log by now."""
        follower = self._follower
        if follower.refresh() or not follower.kept:
            facts = Facts.of(follower)
            gauges_of(follower, facts)
            began = clock.monotonic()
            follower.keep(encoded(follower, facts, follower.prefix))
            self.every = min(max(EVERY, SHARE * (clock.monotonic() - began)), LONGEST)


class _Follower(Record):
    """Reads the log on the disk after its writer, with the facts of the writer's record: nothing is decoded twice."""

    def __init__(self, leader: Record):
        super().__init__(leader.directory, leader.fs)
        self.leader = leader
        self.prefix = 0  # CRC-32 of all bytes before the offset
        self.kept = False

    def _decoded(self, text: bytes) -> tuple[Entry, Line | None]:
        match, number = _FACTS.match(text), len(self.lines)
        if match is None:
            entry, line = decode_line(text, self.crc), None
        elif number < len(self.leader.times):
            entry = Entry(match[4].decode(), None, int(match[1]), int(match[2]), match[3].decode(), checked(text, self.crc))
            line = self.leader.lines[number]
        else:
            raise ValueError("the writer has not taken this line yet")
        self.prefix = crc32(b"\n", crc32(text, self.prefix))
        return entry, line

    def keep(self, text: bytes) -> None:
        """Puts a digest in the place of the one before."""
        path, fresh = self.directory / NAME, self.directory / f".{NAME}"
        self.fs.remove(fresh)
        self.fs.write_new(fresh, text, sync=False)
        self.fs.rename(fresh, path)
        self.kept = True
