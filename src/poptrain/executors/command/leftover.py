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
    """Returns the processes of a call that run, with their names: its group, all with its mark, and their descendants.

    It is empty where ``/proc`` is not as in Linux.
    """
    if sys.platform != "linux":
        return {}
    names: dict[int, str] = {}
    parents: dict[int, int] = {}
    mine: set[int] = set()
    own, wanted = os.getpid(), f"{mark}=".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdecimal() or int(entry) == own:
            continue
        with suppress(OSError, ValueError, IndexError):  # it has ended, or belongs to another user
            head, _, rest = _read(f"/proc/{entry}/stat").rpartition(b")")
            state, parent, process_group = rest.split()[:3]
            if state in (b"Z", b"X"):
                continue
            number = int(entry)
            names[number], parents[number] = head.partition(b"(")[2].decode("utf-8", "replace"), int(parent)
            if int(process_group) == group or wanted in _read(f"/proc/{entry}/environ"):
                mine.add(number)
    grown = True
    while mine and grown:
        more = {number for number, parent in parents.items() if parent in mine} - mine
        mine |= more
        grown = bool(more)
    return {number: names[number] for number in mine}


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
