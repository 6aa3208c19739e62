"""Which store a run has: in memory, in its directory, or at the URL that its log names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from poptrain.checkpoints.memory import MemoryStore
from poptrain.checkpoints.store import Store
from poptrain.checkpoints.url import UrlStore
from poptrain.checkpoints.url_files import checked
from poptrain.core.errors import Suspended, UsageError
from poptrain.log.reader import Record


def of(record: Record) -> Store | MemoryStore:
    """Returns the store of a run; nothing is opened or looked at yet."""
    if record.directory is None:
        return MemoryStore()
    place = record.run.get("checkpoints")
    if place is None:
        return Store(record.directory)
    if not isinstance(place, Mapping) or not all(isinstance(place.get(key), str) for key in ("url", "owner")):
        raise UsageError(f"the log in {record.directory} names a place of its checkpoints that this poptrain cannot read.")
    return UrlStore(place["url"], place["owner"], record.directory)


def check_same(record: Mapping[str, Any], url: str | None, directory: Path | str) -> None:
    """Raises a `UsageError` if a URL was given and is not where the run in `directory` has its checkpoints."""
    place = record.get("checkpoints")
    there = place.get("url") if isinstance(place, Mapping) else None
    if url is not None and checked(url) != there:
        raise UsageError(
            f"the checkpoints of the run in {str(directory)!r} are {'in it' if there is None else f'at {there}'}, not at "
            f"{checked(url)}: leave `checkpoints` as it was, or use another directory."
        )


@contextmanager
def claimed(url: str | None) -> Iterator[dict[str, Any]]:
    """Takes the place at a URL for a run that is about to be created, and gives it back if that fails.

    Yields what the log's header says of it; nothing without a URL.

    Raises:
        UsageError: something is there already, or the storage cannot be used.
    """
    if url is None:
        yield {}
        return
    store = _taken(url)
    try:
        yield {"checkpoints": {"url": store.fs.url, "owner": store.owner}}
    except BaseException:
        store.release()
        raise


def check_usable(url: str) -> None:
    """Takes the place at a URL and gives it back; raises as `claimed` does, and `Suspended` if nothing can be removed there."""
    _taken(url).release()


def _taken(url: str) -> UrlStore:
    store = UrlStore(url, os.urandom(8).hex())
    try:
        store.claim()
    except Suspended as error:  # there is no run yet that could be resumed
        raise UsageError(str(error).partition("; mend that")[0] + ": no run was started.") from error
    return store
