"""The boundary around the user's code: whatever it raises is a value from here on, and only the member that raised it pays."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poptrain.log.disk import default as disk

# What a disk answers when it takes no more. A wrong path or a missing permission is more likely the mistake of the user's code.
_STORAGE = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "ESTALE", "EMFILE", "ENFILE", "EFBIG", "ETIMEDOUT", "EUCLEAN", "EREMOTEIO")
    if hasattr(errno, name)
)
_LITTLE = 1 << 16  # bytes: with less free space, whatever `save` raised is taken for a full disk


class RaisedByUser(Exception):
    """Carries what the user's code raised: also an error of poptrain itself, which then says nothing about this run."""

    def __init__(self, error: BaseException):
        super().__init__(error)
        self.error = error


@contextmanager
def users_code() -> Iterator[None]:
    """Turns everything that is raised inside into `RaisedByUser`. Only an interrupt passes: it comes from outside."""
    try:
        yield
    except (KeyboardInterrupt, RaisedByUser):
        raise
    except BaseException as error:
        raise RaisedByUser(error) from error


@contextmanager
def saving(directory: Path) -> Iterator[None]:
    """Is `users_code` for a method that writes files: a disk that takes no more suspends the run, and no member fails.

    Raises:
        Suspended: the disk is full, or failed.
    """
    try:
        with users_code():
            yield
    except RaisedByUser as raised:
        error = raised.error
        if isinstance(error, OSError) and error.errno in _STORAGE:
            raise disk.suspended(error, directory) from error
        if isinstance(error, Exception) and disk.free(directory) < _LITTLE:
            raise disk.suspended(OSError(errno.ENOSPC, ""), directory) from error
        raise
