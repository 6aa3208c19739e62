"""A program: what forked processes find in a log is what one process reads, and none is left. Its argument is a directory."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from poptrain.log import ahead
from poptrain.log.reader import Record

home = Path(sys.argv[1])
ahead.FEW, ahead.cpus = 0, lambda: 3


def found() -> str:
    """Returns what is read."""
    record = Record(home)
    record.refresh()
    return repr([record.seq, record.crc, list(record.times), record.events, record.history().table(), list(record.lines)])


def children() -> int:
    """Returns the number of child processes, dead ones included."""
    with suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
        return 1
    return 0


alone, ahead.WORTH = found(), 0
descriptors = os.listdir("/proc/self/fd")
forked, real = [], os.fork


def fork() -> int:
    """Forks, and remembers it."""
    if process := real():
        forked.append(process)
    return process


os.fork = fork
assert found() == alone
assert len(forked) == 2, forked


def no_room() -> int:
    """Fails, as where there are too many processes."""
    raise OSError("no room")


os.fork = no_room
assert found() == alone
assert not children() and len(os.listdir("/proc/self/fd")) == len(descriptors)
print("ok")
