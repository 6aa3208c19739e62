"""The disk. No other module touches a run directory. Three rules are kept here, so that no caller has to remember them:

* files and directories are made with mode 0600 and 0700, and never through a symbolic link;
* every operation that changes the disk first calls `FS._op`, and every one that reads it `FS._look`, for tests with faults;
* every error of the operating system becomes `Suspended`, one sentence that says how to continue. Only what a caller handles by
  name keeps its type: a name that exists already, and, in reading, one that does not exist.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import FileIO
from pathlib import Path

from poptrain.core.commands import poptrain
from poptrain.core.counting import counted
from poptrain.core.errors import Suspended, UsageError
from poptrain.core.file_name import safe_name
from poptrain.log.together import together

_FULL = (errno.ENOSPC, errno.EDQUOT)
_ODD = (errno.ELOOP, errno.ENXIO)  # what opening a link or a pipe answers
_ABSENT = (FileNotFoundError, NotADirectoryError)
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # non-blocking: it must not hang on a FIFO in place of a file


FEW = 8  # files and directories


class FS:
    """The real disk. Subclass it and override `_op` and `_look` to inject faults."""

    renames = True
    at_a_time = 32  # files and directories that `flush` makes durable at the same time; 1: one after another, without threads

    def _op(self, name: str, path: Path) -> None:
        """Is called before each operation that changes the disk; raise OSError here to make it fail."""

    def _look(self, name: str, path: Path) -> None:
        """Is called before each operation that reads the disk; raise OSError here to make it fail."""

    def _write(self, fd: int, data: bytes | memoryview) -> int:
        """Writes bytes to the disk and returns their number. Nothing else does; override it for short writes."""
        return os.write(fd, data)

    @contextmanager
    def _changing(self, name: str, path: Path) -> Iterator[None]:
        try:
            self._op(name, path)
            yield
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno in _ODD and _is_odd(path):
                raise _not_regular(path) from None
            raise self.suspended(error, path) from error

    @contextmanager
    def _reading(self, name: str, path: Path) -> Iterator[None]:
        try:
            self._look(name, path)
            yield
        except _ABSENT:
            raise
        except OSError as error:
            if error.errno in _ODD and _is_odd(path):
                raise _not_regular(path) from None
            raise self.suspended(error, path, "read") from error

    def suspended(self, error: OSError, path: Path, doing: str = "write") -> Suspended:
        """Returns the error for a run that cannot write or read at present, but can be resumed."""
        if error.errno in _FULL:
            why, cure = "disk full", "free some space"
        elif isinstance(error, _ABSENT):
            why, cure = f"{path.parent} was removed, renamed or replaced during the run", "put it back"
        else:
            why = os.strerror(error.errno or errno.EIO)
            cure = "allow more (`ulimit -n`)" if error.errno in (errno.EMFILE, errno.ENFILE) else "fix that"
        space = f" ({counted(self.free(path), 'byte')} free)" if doing == "write" else ""
        return Suspended(f"{why}: cannot {doing} {path}{space}; {cure}, then `{poptrain('resume', _run_of(path))}`")

    # -- paths --------------------------------------------------------------------------------------------------------

    def home(self, directory: Path | str) -> Path:
        """Returns the directory with all links resolved. The other methods expect paths below it."""
        return Path(directory).resolve()

    def inside(self, root: Path, name: str) -> Path:
        """Returns ``root / name`` if the name is safe, and neither it nor `root` (which was resolved before) is a link."""
        return inside(root, name)

    def shown(self, path: Path) -> str:
        """Returns a path as messages show it."""
        return str(path)

    # -- files --------------------------------------------------------------------------------------------------------

    def write_new(self, path: Path, data: bytes | memoryview, sync: bool = True) -> None:
        """Writes a file that must not exist yet, and makes its content (not its name) durable."""
        with self._changing("write_new", path):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600)
            try:
                view = memoryview(data)
                while view:
                    view = view[self._write(fd, view) :]
                if sync:
                    with self._changing("fsync", path):
                        os.fsync(fd)
            finally:
                os.close(fd)

    def open_append(self, path: Path, create: bool = False) -> int:
        """Returns a descriptor that only appends; with `create` the file must be new."""
        with self._changing("open_append", path):
            flags = os.O_CREAT | os.O_EXCL if create else 0
            return _regular(os.open(path, os.O_WRONLY | os.O_APPEND | flags | _SAFE, 0o600), path)

    def append(self, fd: int, data: bytes, path: Path) -> int:
        """Appends with one write and returns the number of bytes that the disk took, which may be smaller."""
        with self._changing("append", path):
            return self._write(fd, data)

    def sync(self, fd: int, path: Path) -> None:
        """Makes the content of an open file durable."""
        with self._changing("sync", path):
            getattr(os, "fdatasync", os.fsync)(fd)

    def truncate(self, fd: int, size: int, path: Path) -> None:
        """Cuts an open file to its first `size` bytes."""
        with self._changing("truncate", path):
            os.ftruncate(fd, size)

    def close(self, fd: int) -> None:
        """Closes a descriptor, unless other code of this process has closed it."""
        with suppress(OSError):
            os.close(fd)

    def fsync(self, path: Path) -> None:
        """Makes a file durable that other code wrote."""
        with self._changing("fsync", path):
            fd = _regular(os.open(path, os.O_RDONLY | _SAFE), path)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def flush(self, files: Iterable[Path], folders: Iterable[Path]) -> None:
        """Makes files and the names in directories durable; many of them at the same time, so that the disk writes them together.

        A few are quicker one after another: the first call makes the file system write what the others wait for.
        """
        calls = [partial(self.fsync, path) for path in files] + [partial(self.fsync_dir, path) for path in folders]
        together(calls, self.at_a_time if len(calls) > FEW else 1)

    def read(self, path: Path, start: int = 0, limit: int = -1) -> bytes:
        """Returns the bytes of a regular file from `start`. It never follows a link and never waits for a pipe."""
        with self._reading("read", path), _opened(path) as file:
            file.seek(start)
            return file.read(limit)

    def digest(self, path: Path) -> str:
        """Returns the SHA-256 of a regular file, whatever its size."""
        with self._reading("digest", path), _opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def size(self, file: Path | int) -> int:
        """Returns the size of a file, by path (a link is not followed) or descriptor."""
        if isinstance(file, int):
            return os.fstat(file).st_size
        with self._reading("size", file):
            return os.lstat(file).st_size

    def in_place(self, fd: int, size: int, path: Path) -> bool:
        """True if an open file has this size and is still the one that the path names: not removed, renamed or replaced."""
        try:
            here, there = os.fstat(fd), os.lstat(path)
        except OSError:  # also if other code of this process has closed the descriptor
            return False
        return (here.st_ino, here.st_dev, here.st_size) == (there.st_ino, there.st_dev, size)

    def exists(self, path: Path) -> bool:
        """True if anything has this name, including a broken link."""
        return os.path.lexists(path)

    def remove(self, path: Path) -> None:
        """Removes one file or link, if it exists."""
        with self._changing("remove", path), suppress(FileNotFoundError):
            os.unlink(path)

    # -- directories --------------------------------------------------------------------------------------------------

    def make_dir(self, path: Path) -> None:
        """Makes a directory for the owner alone, unless it exists. A link in its place is refused."""
        with self._changing("make_dir", path):
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    raise _not_regular(path) from None

    def list(self, path: Path) -> list[str]:
        """Returns the names in a directory, sorted; an empty list if the directory does not exist."""
        try:
            with self._reading("list", path):
                return sorted(os.listdir(path))
        except _ABSENT:
            return []

    def walk(self, path: Path) -> dict[str, int]:
        """Returns the size of every file under a directory by its relative path; links are not followed: -1."""
        found: dict[str, int] = {}
        todo = [""]
        with self._reading("walk", path):
            while todo:
                prefix = todo.pop()
                with os.scandir(path / prefix) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            todo.append(f"{prefix}{entry.name}/")
                        else:
                            status = entry.stat(follow_symlinks=False)
                            found[prefix + entry.name] = status.st_size if stat.S_ISREG(status.st_mode) else -1
        return found

    def fsync_dir(self, path: Path) -> None:
        """Makes the names in a directory durable."""
        with self._changing("fsync_dir", path):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def link(self, old: Path, new: Path, size: int) -> bool:
        """Gives a file of `size` bytes a second name; False if this disk has no links, or it is not such a file any more."""
        with self._changing("link", new):
            try:
                os.link(old, new, follow_symlinks=False)
            except OSError as error:
                if error.errno in _FULL:
                    raise
                return False
        status = os.lstat(new)
        if stat.S_ISREG(status.st_mode) and status.st_size == size:
            return True
        self.remove(new)
        return False

    def rename(self, old: Path, new: Path) -> None:
        """Renames a file or directory atomically."""
        with self._changing("rename", new):
            os.rename(old, new)

    def remove_tree(self, path: Path) -> None:
        """Removes a directory with its content, if it exists. Links are removed, never followed."""
        with self._changing("remove_tree", path), suppress(FileNotFoundError):
            if stat.S_ISDIR(os.lstat(path).st_mode):
                shutil.rmtree(path)
            else:
                os.unlink(path)

    # -- the rest -----------------------------------------------------------------------------------------------------

    def lock(self, path: Path) -> int | None:
        """Returns a descriptor that holds the lock until it is closed, or None if another one holds it.

        The kernel releases it with the process, however that ends, so a lock is never left over.
        """
        with self._changing("lock", path):
            fd = _regular(os.open(path, os.O_RDWR | os.O_CREAT | _SAFE, 0o600), path)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return None
            return fd

    def locked(self, path: Path) -> bool:
        """True if a process holds the lock of a file. It is for readers, and never takes the lock."""
        fd = _regular(os.open(path, os.O_RDONLY | _SAFE), path)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def free(self, path: Path) -> int:
        """Returns the bytes that are free on the disk of a path."""
        for place in (path, *path.absolute().parents):
            with suppress(OSError):
                return shutil.disk_usage(place).free
        return 0

    def check_owner(self, directory: Path) -> None:
        """Raises UsageError if another user owns the directory, or if every user may change it."""
        status = os.stat(directory)
        if os.geteuid() not in (0, status.st_uid):  # root may: containers mount directories of other users
            raise UsageError(f"{directory} belongs to user {status.st_uid}, not to you: copy it and use the copy.")
        if status.st_mode & stat.S_IWOTH:
            raise UsageError(f"{directory} can be changed by every user: `chmod o-w {directory}` first.")


def inside(root: Path, name: str) -> Path:
    """Returns ``root / name`` if the name is safe, and neither it nor `root` (which was resolved before) is a link."""
    path = root / safe_name(name)
    if os.path.realpath(path) != str(path):
        raise _not_regular(path)
    return path


def _opened(path: Path) -> FileIO:
    return open(_regular(os.open(path, os.O_RDONLY | _SAFE), path), "rb", buffering=0)


def _regular(fd: int, path: Path) -> int:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _not_regular(path)
    return fd


def _is_odd(path: Path) -> bool:
    """True if a link, a pipe or a device has this name."""
    mode = os.lstat(path).st_mode if os.path.lexists(path) else stat.S_IFREG
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _not_regular(path: Path) -> UsageError:
    return UsageError(f"{path} is a link, or not a regular file or directory. poptrain does not follow it: remove it.")


def _run_of(path: Path) -> Path:
    """Returns the nearest directory above that holds a log: the argument of `poptrain resume`."""
    for place in path.absolute().parents:
        if os.path.lexists(place / "log-000001.jsonl"):
            return place
    return path.parent


default = FS()
