"""What the machine refuses: space, open files, processes, memory. No member pays for it: the run is suspended, to go on later."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poptrain.core.commands import poptrain
from poptrain.core.counting import counted
from poptrain.core.errors import Suspended
from poptrain.log.disk import default as disk

LIMITS = frozenset((errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM))  # of open files, of processes, of memory
# What a disk answers when it takes no more. A wrong path or a missing permission is more likely the mistake of the user's code.
STORAGE = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "ESTALE", "EMFILE", "ENFILE", "EFBIG", "ETIMEDOUT", "EUCLEAN", "EREMOTEIO")
    if hasattr(errno, name)
)
_LITTLE = 1 << 16  # bytes: with less free space, whatever fails while files are written is taken for a full disk


def refused_storage(error: BaseException, directory: Path) -> OSError | None:
    """Returns the refusal of the disk that an error goes back to, if it was raised while files were written."""
    number = number_of(error)
    if number in STORAGE:
        return OSError(number, os.strerror(number))
    if isinstance(error, Exception) and disk.free(directory) < _LITTLE:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return None


def number_of(error: BaseException) -> int:
    """Returns the number of a system's error; 0 for another error. `shutil.Error` has it only in its text."""
    if not isinstance(error, OSError):
        return 0
    if error.errno is None and (found := re.search(r"\[Errno (\d+)\]", str(error))):
        return int(found[1])
    return error.errno or 0


def temporary() -> Path:
    """Returns where working directories are made."""
    return Path(tempfile.gettempdir())


@contextmanager
def scratch() -> Iterator[None]:
    """Suspends the run if the machine refuses what a member needs besides the user's code: a working directory, a process.

    Raises:
        Suspended: it says what the machine refused.
    """
    try:
        yield
    except OSError as error:
        number = number_of(error)
        if number in LIMITS:
            cure = "allow this user more (`ulimit -n` files, `ulimit -u` processes)"
            raise Suspended(f"{os.strerror(number)}: this process may not have more; {cure}, {_again()}") from error
        if number not in STORAGE:
            raise
        raise _full(number) from error


def check_space() -> None:
    """Suspends the run if a program may have failed because the disk with its working directory is full.

    Raises:
        Suspended: there is hardly any space.
    """
    if disk.free(temporary()) < _LITTLE:
        raise _full(errno.ENOSPC)


def _full(number: int) -> Suspended:
    where = f"{temporary()}, where temporary files are written, has {counted(disk.free(temporary()), 'byte')} free"
    return Suspended(f"{os.strerror(number)}: {where}; free some space or set TMPDIR to another disk, {_again()}")


def _again() -> str:
    return f"then continue the run with the same call or `{poptrain('resume', 'DIRECTORY')}`"
