"""``overwrite=True``: removes a run from its directory, so that another one begins there."""

from __future__ import annotations

import os
import re
from pathlib import Path

from poptrain.core.errors import LogDamaged, UsageError
from poptrain.log.disk import default as disk
from poptrain.log.finding import exists, segment_name
from poptrain.log.lock import take_lock
from poptrain.log.reader import read

_FOLDERS = ("checkpoints", "errors", "output", "trash")
_FILES = re.compile(r"log-\d{6,}\.jsonl|log\.torn-.*|log\.reserve|\.?digest\.json")


def removed(directory: str | Path) -> None:
    """Removes the run that a directory holds, and nothing else; without a run it does nothing.

    The first file of the log goes last: after a crash, the same call finishes the removal.

    Raises:
        RunBusy: another process writes the run.
        UsageError: its checkpoints are at a URL.
    """
    if not exists(directory):
        return
    home = Path(directory).resolve()
    _check_place(home)
    lock = take_lock(home, disk)
    try:
        for name in _FOLDERS:
            disk.remove_tree(home / name)
        first = segment_name(1)
        files = [name for name in os.listdir(home) if _FILES.fullmatch(name) and name != first]
        for name in (*files, first):
            disk.remove(home / name)
    finally:
        disk.close(lock)


def _check_place(home: Path) -> None:
    try:
        place = read(home).run.get("checkpoints")
    except LogDamaged:
        return  # it is removed without being read
    if isinstance(place, dict):
        raise UsageError(
            f"overwrite=True: the checkpoints of the run in {str(home)!r} are at {place.get('url')}, which is not deleted: "
            "delete both yourself, or use another directory."
        )
