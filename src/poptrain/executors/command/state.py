"""What a program left in the directory of its member, and whether the next call can continue from it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from poptrain.core.counting import counted
from poptrain.core.errors import MetricError

_LOG = re.compile(r"/\.hydra/|/wandb/|\.log$|/events\.out\.tfevents")  # what is written next to a state, and never is one
Files = frozenset[tuple[str, int, int, int]]


def snapshot(directory: Path, metrics: Path | None) -> Files:
    """Returns the files of a directory, with what changes when one is written; without logs and the file of metrics."""
    return frozenset(
        each for each in _files(directory, None if metrics is None else os.path.abspath(metrics)) if not _LOG.search(each[0])
    )


def check_left(directory: Path, metrics: Path | None, before: Files, steps: int, whole: bool) -> None:
    """Raises a `MetricError` if the next call could not continue from what this one has left.

    Args:
        metrics: the file of metrics, which is not part of the state.
        before: `snapshot` before the call.
        steps: that the call has trained.
        whole: the call was the whole training, so nothing continues from it.
    """
    if directory.is_symlink() or not directory.is_dir():
        what = "removed" if not os.path.lexists(directory) else "replaced"
        raise MetricError(f"the command has {what} the directory {{checkpoint}}: write files into it, and leave it where it is.")
    if loop := next(_loops(directory), ""):
        raise MetricError(
            f"the command left the link {loop!r} in {{checkpoint}}, which leads back to its own directory: remove it."
        )
    if not steps:
        return
    after = snapshot(directory, metrics)
    if not after and not whole:
        only = "nothing but logs or metrics" if any(directory.iterdir()) else "nothing"
        raise MetricError(
            f"the command left {only} in {{checkpoint}}, so every call would start from scratch: save the state there at the end "
            "of each call, and continue from it at the beginning."
        )
    if after and after == before:
        raise MetricError(
            f"the command trained {counted(steps, 'step')} and changed nothing in {{checkpoint}}, so this score "
            "has no model, and the next "
            "call would repeat the steps: save the state at the end of each call, not only at times or if it is the best."
        )


def _loops(directory: Path) -> Iterator[str]:
    """Yields links to a directory that they are in, which no copy of it could end."""
    for folder, folders, _ in os.walk(directory):
        for path in (os.path.join(folder, name) for name in folders):
            if os.path.islink(path) and f"{os.path.realpath(folder)}/".startswith(f"{os.path.realpath(path)}/"):
                yield os.path.relpath(path, directory)


def no_state(folder: str, names: Sequence[str]) -> list[str]:
    """Returns the names in a folder that cannot be copied: sockets and pipes of processes that have ended."""
    modes = {name: os.lstat(os.path.join(folder, name)).st_mode for name in names}
    return [name for name, mode in modes.items() if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))]


def _files(directory: Path, without: str | None) -> Iterator[tuple[str, int, int, int]]:
    for folder, folders, names in os.walk(directory):
        for path in (os.path.join(folder, name) for name in (*folders, *names)):
            if path != without and (os.path.islink(path) or not os.path.isdir(path)):
                status = os.lstat(path)
                yield path[len(str(directory)) :], status.st_mtime_ns, status.st_ino, status.st_size
