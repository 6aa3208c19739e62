"""Keeps the traceback of every failed task as a file in ``errors/`` of the run directory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from poptrain.core.file_name import safe_name
from poptrain.log import disk

MAX_CHARACTERS = 200_000  # of one traceback; its end is kept


def keeper(directory: str | Path | None) -> Callable[[str, str], None]:
    """Returns ``keep(name, text)`` for a run directory; without a directory it does nothing. It can be pickled."""
    return partial(_keep, None if directory is None else str(directory))


def _keep(directory: str | None, name: str, text: str) -> None:
    if directory is None:
        return
    folder = Path(directory) / "errors"
    disk.default.make_dir(folder)
    path = folder / safe_name(name)
    if not disk.default.exists(path):  # the first attempt at a task stays: a second one fails in the same way
        disk.default.write_new(path, text[-MAX_CHARACTERS:].encode(errors="backslashreplace"))
