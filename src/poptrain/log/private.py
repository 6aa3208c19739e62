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
    if directory is None or stat.S_IMODE(directory.stat().st_mode) & _OTHERS:
        yield
        return
    before = os.umask(_OTHERS)
    try:
        yield
    finally:
        os.umask(before)
