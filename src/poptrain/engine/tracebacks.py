"""Where the traceback of a member's error is kept: ``errors/`` in the run directory, one file a failed task."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from poptrain.log import disk

LIMIT = 200_000  # characters of one traceback that are kept


def keeper(directory: str | Path | None) -> Callable[[str, str], None]:
    """Returns ``keep(name, text)`` for a run directory; without a directory it keeps nothing. It can be pickled."""
    return partial(_keep, None if directory is None else str(directory))


def _keep(directory: str | None, name: str, text: str) -> None:
    if directory is None:
        return
    folder = Path(directory) / "errors"
    disk.default.make_dir(folder)
    path = folder / disk.safe_name(name)
    if not disk.default.exists(path):  # a second attempt at the same task fails the same way: the first one is kept
        disk.default.write_new(path, text[-LIMIT:].encode())
