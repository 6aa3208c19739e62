"""Files that are written about a run are as private as the run: if others cannot read the run, they cannot read these files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@contextmanager
def as_private_as(directory: Path | None) -> Iterator[None]:
    """Makes new files readable by their owner alone inside the block, if the directory of a run is. For the whole process."""
    private = directory is not None and not stat.S_IMODE(directory.stat().st_mode) & _OTHERS
    before = os.umask(_OTHERS) if private else os.umask(0)
    if not private:
        os.umask(before)
    try:
        yield
    finally:
        os.umask(before)
