"""Whether every node sees the checkpoints: the driver writes a file next to them, and each actor must be able to read it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from poptrain.checkpoints.store import DiskStore
from poptrain.core import clock
from poptrain.core.errors import PoptrainError, UsageError
from poptrain.executors.ray.cluster import own_address
from poptrain.log.disk import FS

SHARED_DISK_DELAY = 5.0  # seconds after which a network file system shows a file that another node has just written


class DiskProbe(NamedTuple):
    """A file next to the checkpoints of a run: in its directory, or at their URL."""

    path: Path  # or the path of a `UrlFS`
    content: bytes


def write_probe(store: DiskStore) -> DiskProbe:
    """Returns the probe of a store after writing it."""
    store.fs.make_dir(store.root)
    probe = DiskProbe(store.root / f".tmp-probe-{os.urandom(8).hex()}", os.urandom(16))
    store.fs.write_new(probe.path, probe.content, sync=False)
    return probe


def remove_probe(probe: DiskProbe, store: DiskStore) -> None:
    """Removes what `write_probe` wrote, if that is still possible."""
    with suppress(OSError, PoptrainError):
        store.fs.remove(probe.path)


def check_probe(probe: DiskProbe, fs: FS) -> None:
    """Raises a `UsageError` unless this node reads what the driver wrote."""
    node = own_address()
    until = clock.monotonic() + SHARED_DISK_DELAY
    while True:
        try:
            if fs.read(probe.path) == probe.content:
                return
        except OSError:
            pass
        except PoptrainError as error:
            raise UsageError(f"Ray: node {node}: {error}") from error
        if clock.monotonic() >= until:
            break
        clock.sleep(0.2)
    raise UsageError(
        f"Ray: node {node} cannot read {fs.shown(probe.path.parent.parent)}, where the checkpoints of this run are: keep the "
        "run on a file system that every node mounts, pass a URL (checkpoints=…), or use Ray(carrier='driver')."
    )
