"""The lock of a run directory: one process writes, and the file says which one."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

from poptrain.core import clock
from poptrain.core.errors import RunBusy, Suspended
from poptrain.log.disk import FS


def take_lock(directory: Path, fs: FS) -> int:
    """Returns a descriptor that holds the lock of a run directory until it is closed.

    Raises:
        RunBusy: another process holds it.
        UsageError: the directory belongs to another user, or every user may change it.
    """
    fs.check_owner(directory)
    path = directory / "lock"
    fd = fs.lock(path)
    if fd is None:
        try:
            holder = "process {pid} on {host} since {since}".format(**json.loads(fs.read(path)))
        except (ValueError, LookupError, TypeError, OSError, Suspended):
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
