"""Ray's own state files, replaced whole: a driver that is killed while it writes them leaves the ones before.

Ray copies the state of an experiment over the old file, in the background. If the driver is killed at that moment, the file is
empty or cut off, and `Tuner.restore` begins a new experiment instead. Here each file is copied to another name, and then renamed.
A state that Ray is just writing is left out; the next copy has it. Other files, such as ``result.json``, are always copied.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path

from ray.train._internal.storage import StorageContext, _FilesystemSyncer

STATES = ("experiment_state-*.json", "basic-variant-state-*.json")  # what `Tuner.restore` reads

Command = tuple[Callable[..., None], dict[str, object]]  # what Ray's syncer runs in a thread: a function and its arguments


class WholeFiles(_FilesystemSyncer):
    """Ray's syncer for a local directory, whose files are always whole."""

    def _sync_up_command(self, local_path: str, uri: str, exclude: list[str] | None = None) -> Command:
        if exclude or not os.path.isdir(local_path):
            command: Command = super()._sync_up_command(local_path, uri, exclude)
            return command
        return copy_whole, {"source": local_path, "target": uri}


def with_whole_files(storage: StorageContext) -> StorageContext:
    """Returns the storage of an experiment that replaces its state files whole; the same one if they are not local."""
    if storage.storage_filesystem.type_name != "local":
        return storage
    mine = copy.copy(storage)
    mine.syncer = WholeFiles(
        storage_filesystem=storage.storage_filesystem,
        sync_period=storage.sync_config.sync_period,
        sync_timeout=storage.sync_config.sync_timeout,
    )
    return mine


def copy_whole(source: str, target: str) -> None:
    """Copies the files of a directory, and those in its directories, each under another name first."""
    for file in sorted(Path(source).rglob("*")):
        place = Path(target, file.relative_to(source))
        if not file.is_file():
            place.mkdir(parents=True, exist_ok=True)
            continue
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            continue  # Ray's own temporary file
        if any(map(file.match, STATES)) and not is_json(data):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.part")
        part.write_bytes(data)
        os.replace(part, place)


def is_json(data: bytes) -> bool:
    """True if the bytes of a file are complete JSON."""
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
