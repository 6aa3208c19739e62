"""Which experiment files this user has started, so that no other file is executed because the log of a run names it.

A log may come from anybody, and a file next to it as well, with the right hash. So the list is kept outside of all runs, in the
home of the user: one empty file for each experiment file that was started, named by a hash of its path, its content, its
arguments, and the directory in which it was executed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from poptrain.core import Json
from poptrain.engine.experiment import file_hash


def remember(directory: str | Path, source: Mapping[str, Json]) -> None:
    """Remembers that this user started a run from its experiment file; without a home that can be written, nothing happens.

    Args:
        directory: of the run.
        source: the entry about the file, from `file_record`.
    """
    with suppress(OSError):
        place = _list()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        (place / _key(directory, source)).touch(mode=0o600)


def refusal(directory: str | Path, source: Mapping[str, Json]) -> str | None:
    """Returns why the file that a log names is not executed unasked; None if this user started it, as it is, before."""
    file = file_of(directory, source)
    with suppress(OSError):
        if source.get("sha256") not in (None, file_hash(file)):
            return f"{str(file)!r} has changed since the run was started with it"
        if (_list() / _key(directory, source)).exists():
            return None
    return f"the log names {str(file)!r}, from which you have not started a run on this machine"


def file_of(directory: str | Path, source: Mapping[str, Json]) -> Path:
    """Returns the path of the file that an entry of a log names."""
    return (Path(directory).resolve() / str(source.get("name")).replace("\0", "?")).resolve()


def folder_of(directory: str | Path, source: Mapping[str, Json]) -> Path | None:
    """Returns the directory in which a run was started, which its file may read from; None if an old log has not kept it."""
    folder = source.get("folder")
    return (Path(directory).resolve() / folder.replace("\0", "?")).resolve() if isinstance(folder, str) else None


def _list() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(home) / "poptrain" / "started"


def _key(directory: str | Path, source: Mapping[str, Json]) -> str:
    what = [str(file_of(directory, source)), source.get("sha256"), source.get("argv") or []]
    if (folder := folder_of(directory, source)) is not None:
        what.append(str(folder))
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()
