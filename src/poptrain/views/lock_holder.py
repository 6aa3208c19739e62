"""Which process writes a run directory at this moment, found without disturbing it."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass

from poptrain.core.errors import PoptrainError
from poptrain.log.reader import Record


@dataclass(frozen=True)
class Writer:
    """The live process that holds a run directory."""

    pid: int
    host: str
    since: str  # UTC


def writer_of(record: Record) -> Writer | None:
    """Returns the process that has the run open for writing; None if there is none, or the run is only in memory."""
    if record.directory is None:
        return None
    path = record.directory / "lock"
    try:
        holder = json.loads(record.fs.read(path))
        writer = Writer(int(holder["pid"]), str(holder["host"]), str(holder["since"]))
    except (OSError, PoptrainError, ValueError, KeyError, TypeError):
        return None
    if writer.host == platform.node() and not _alive(writer.pid):
        return None
    return writer if record.fs.locked(path) else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # the process of another user
    return True
