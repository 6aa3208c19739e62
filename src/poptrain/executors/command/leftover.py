"""What a program leaves running. On Linux it is found wherever it has gone, by a variable in its environment."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

from poptrain.core import clock

ROUNDS = 50  # of looking, at most: what is ended may have started something in the meantime
PAUSE = 0.01  # seconds between them


def new_mark() -> str:
    """Returns the name of a variable that marks one call. It has a name of its own, so that calls inside calls keep theirs."""
    return f"POPTRAIN_CALL_{os.urandom(8).hex()}"


def end_all(group: int, mark: str) -> None:
    """Ends a process group, and on Linux every process that the call with this mark has started."""
    for _ in range(ROUNDS):
        found = running(group, mark)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        for number in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)
        if not found:
            return
        clock.sleep(PAUSE)


def running(group: int, mark: str) -> dict[int, str]:
    """Returns the processes of a call that run, with their names: all with its mark, its group, and their descendants.

    Most calls leave nothing, so all others are looked at only if one has the mark. It is empty on other systems than Linux.
    """
    if sys.platform != "linux":
        return {}
    wanted, own = f"{mark}=".encode(), os.getpid()
    all_of_them = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal() and int(entry) != own]
    mine = {number for number in all_of_them if wanted in _read(f"/proc/{number}/environ")}
    if not mine:
        return {}
    names: dict[int, str] = {}
    parents: dict[int, int] = {}
    for number in all_of_them:
        head, _, rest = _read(f"/proc/{number}/stat").rpartition(b")")
        state, parent, process_group, *_ = *rest.split(), b"X", b"0", b"0"
        if state in (b"Z", b"X"):  # it has ended
            continue
        names[number], parents[number] = head.partition(b"(")[2].decode("utf-8", "replace"), int(parent)
        if int(process_group) == group:
            mine.add(number)
    grown = True
    while grown:
        more = {number for number, parent in parents.items() if parent in mine} - mine
        mine |= more
        grown = bool(more)
    return {number: names[number] for number in mine if number in names}


def _read(path: str) -> bytes:
    """Returns a file of ``/proc``; nothing if the process has ended, or is another user's."""
    data = b""
    with suppress(OSError):
        file = os.open(path, os.O_RDONLY)
        try:
            while more := os.read(file, 1 << 17):
                data += more
        finally:
            os.close(file)
    return data
