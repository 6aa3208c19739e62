"""Finds the store of a run: in memory, in its directory, or at the URL that its log names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from poptrain.checkpoints.memory import MemoryStore
from poptrain.checkpoints.store import DiskStore
from poptrain.checkpoints.url import UrlStore
from poptrain.checkpoints.url_files import HINT, checked_url
from poptrain.core import Json
from poptrain.core.errors import Suspended, UsageError
from poptrain.core.protocols import Store
from poptrain.log.reader import Record


def of(record: Record) -> Store:
    """Returns the store of a run. It opens nothing yet."""
    return MemoryStore() if record.directory is None else stored(record)


def stored(record: Record) -> DiskStore:
    """Returns the store of a run that has a directory: there, or at a URL. It can also hash checkpoints and name damage."""
    place = record.run.get("checkpoints")
    if place is None:
        return DiskStore(record.home)
    if not isinstance(place, Mapping) or not all(isinstance(place.get(key), str) for key in ("url", "owner")):
        raise UsageError(f"the log in {record.directory} has a checkpoint location that this version of poptrain cannot read.")
    return UrlStore(place["url"], place["owner"], record.home)


def check_same(run: Mapping[str, Json], url: str | None, directory: Path | str) -> None:
    """Raises a `UsageError` if `url` is not the location of the checkpoints of the run in `directory`; None is always right."""
    place = run.get("checkpoints")
    there = place.get("url") if isinstance(place, Mapping) else None
    if url is not None and checked_url(url) != there:
        raise UsageError(
            f"the checkpoints of the run in {str(directory)!r} are {'in it' if there is None else f'at {there}'}, not at "
            f"{checked_url(url)}: keep `checkpoints` as it was, or use another directory."
        )


@contextmanager
def claimed(url: str | None) -> Iterator[dict[str, Json]]:
    """Takes the place at a URL for a run that is about to be created, and releases it if the creation fails.

    Yields the entry for the log's first line; an empty one without a URL.

    Raises:
        UsageError: the place is not empty, or the storage cannot be used.
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
    """Takes the place at a URL and releases it. Raises as `claimed` does, and `Suspended` if files cannot be removed there."""
    _taken(url).release()


def _taken(url: str) -> UrlStore:
    store = UrlStore(url, os.urandom(8).hex())
    try:
        store.claim()
    except Suspended as error:  # there is no run yet that could be resumed
        raise UsageError(str(error).partition(HINT)[0] + ": no run was started.") from error
    return store


if TYPE_CHECKING:
    _FULFILLED: tuple[type[Store], ...] = (MemoryStore, DiskStore, UrlStore)
