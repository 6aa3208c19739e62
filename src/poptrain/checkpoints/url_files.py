"""Files at an fsspec URL. `UrlStore` uses them as `DiskStore` uses the files of a disk.

Paths are relative to the URL. A file is written completely, under its final name, because object stores have no rename, no
directories and no fsync. An error of the storage becomes `Suspended`, except that a missing file raises FileNotFoundError.
Credentials come from the environment, as fsspec's packages read them, and are never part of a URL.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from poptrain.core.commands import poptrain
from poptrain.core.errors import MissingExtra, PoptrainError, Suspended, UsageError, did_you_mean
from poptrain.core.file_name import safe_name
from poptrain.log.disk import default as disk

# Storage without directories, and the package for it. Making a directory there could make a bucket.
BUCKETS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"}
_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s*?#\[\]{}\\]+", re.ASCII)  # without what fsspec would expand
_ABSENT = (FileNotFoundError, NotADirectoryError)
_BLOCK = 4 << 20  # bytes that are hashed at a time
HINT = "; fix that"  # from here on the error of a run that can be resumed says how

FileSystem = Any  # of fsspec


def checked_url(url: object) -> str:
    """Returns a URL in the form that logs record.

    Raises:
        UsageError: it is not a URL, or it contains a secret, which the message does not repeat.

    >>> checked_url("s3://bucket/first/")
    's3://bucket/first'
    """
    if not isinstance(url, str) or "://" not in url:
        raise UsageError(
            f"checkpoints={url!r}: expected a URL that every node can reach, such as 's3://bucket/first', or "
            "'file:///shared/first' on a shared disk."
        )
    protocol, _, place = url.partition("://")
    if "?" in place or ":" in place.rpartition("@")[0]:
        raise UsageError(
            f"checkpoints: the {protocol} URL contains a password or a query: remove it, credentials come from the environment."
        )
    url = f"{protocol}://{place.rstrip('/')}"
    if not _URL.fullmatch(url) or "::" in url or not place.strip("/") or {".", ".."} & set(place.split("/")):
        raise UsageError(f"checkpoints={url!r:.200}: expected protocol://place without spaces, '..', '::' or any of *#[]{{}}.")
    if protocol in ("file", "local") and not place.startswith("/"):
        raise UsageError(f"checkpoints={url!r}: a path must be absolute, such as 'file:///shared/first'.")
    return url


class UrlFS:
    """The files below a URL. A pickled copy opens it again, and so does a forked process.

    Args:
        run: the directory of the run; errors name it, so that it can be resumed.
    """

    renames = False

    def __init__(self, url: str, run: Path | str = ""):
        self.url, self.run = checked_url(url), str(run)
        self.protocol = self.url.partition("://")[0]
        self._opened: tuple[int, FileSystem, str] | None = None  # the process that opened it, and the URL as a path in it

    def __getstate__(self) -> dict[str, object]:
        if self.protocol == "memory":
            raise UsageError(
                f"checkpoints={self.url!r}: other processes cannot read it. Use it with executor='inline', or use another URL."
            )
        return {**self.__dict__, "_opened": None}

    # -- paths --------------------------------------------------------------------------------------------------------

    def home(self, directory: Path | str) -> PurePosixPath:
        """Returns the path of the URL itself; all paths are relative to it."""
        return PurePosixPath()

    def inside(self, root: PurePosixPath, name: str) -> PurePosixPath:
        """Returns ``root / name`` if the name is safe."""
        return root / safe_name(name)

    def shown(self, path: PurePosixPath) -> str:
        """Returns the URL of a path."""
        return f"{self.url}/{path}" if path.parts else self.url

    # -- files --------------------------------------------------------------------------------------------------------

    def write_new(self, path: PurePosixPath, data: bytes | memoryview, sync: bool = True) -> None:
        """Writes a file whose name was never used. When it returns, the file is durable."""
        with self._changing("write", path) as (files, at):
            self._make_parent(files, at)
            files.pipe_file(at, bytes(data))
            self._settle(at, sync)

    def upload(self, source: Path, path: PurePosixPath, sync: bool = True) -> None:
        """Writes a copy of a local file under a name that was never used."""
        with self._changing("write", path) as (files, at):
            self._make_parent(files, at)
            files.put_file(str(source), at)
            self._settle(at, sync)

    def read(self, path: PurePosixPath, start: int = 0, limit: int = -1) -> bytes:
        """Returns the bytes of a file from `start`, at most `limit` of them; raises FileNotFoundError if it does not exist."""
        with self._reading("read", path) as (files, at):
            data: bytes = files.cat_file(at)
            return data[start:] if limit < 0 else data[start : start + limit]

    def download(self, path: PurePosixPath, target: Path) -> None:
        """Copies a file into a local one."""
        with self._reading("read", path) as (files, at):
            files.get_file(at, str(target))

    def digest(self, path: PurePosixPath) -> str:
        """Returns the SHA-256 of a file, whatever its size."""
        hash = hashlib.sha256()
        with self._reading("read", path) as (files, at), files.open(at, "rb") as file:
            while block := file.read(_BLOCK):
                hash.update(block)
        return hash.hexdigest()

    def exists(self, path: PurePosixPath) -> bool:
        """True if a file has this name, or is below it."""
        return bool(self.walk(path))

    def remove(self, path: PurePosixPath) -> None:
        """Removes one file, if it exists."""
        with self._changing("remove", path) as (files, at), suppress(*_ABSENT):
            files.rm_file(at)

    def flush(self, files: Iterable[PurePosixPath], folders: Iterable[PurePosixPath]) -> None:
        """Makes files on a disk durable. Other storage has done so when it answers."""
        for path in files:
            self._settle(self._at(path), sync=True)

    def link(self, old: PurePosixPath, new: PurePosixPath, size: int) -> bool:
        """Returns False: an object has one name."""
        return False

    def rename(self, old: PurePosixPath, new: PurePosixPath) -> None:
        """Not supported: `UrlStore` never calls this method."""
        raise NotImplementedError("object stores cannot rename")

    # -- directories, which are prefixes of names ---------------------------------------------------------------------

    def make_dir(self, path: PurePosixPath) -> None:
        """Does nothing: a directory exists as soon as there is a file in it."""

    def fsync_dir(self, path: PurePosixPath) -> None:
        """Does nothing: a name is durable when its file has been written."""

    def list(self, path: PurePosixPath) -> list[str]:
        """Returns the names in a directory, sorted; an empty list if it does not exist."""
        try:
            with self._reading("list", path) as (files, at):
                files.invalidate_cache()  # other processes write here too
                found = [name.rstrip("/") for name in files.ls(at, detail=False)]
        except _ABSENT:
            return []
        return sorted({name[len(at) + 1 :] for name in found if name.startswith(f"{at}/")})

    def walk(self, path: PurePosixPath) -> dict[str, int]:
        """Returns the size of every file below a directory by its relative path; links on a disk have -1."""
        try:
            with self._reading("list", path) as (files, at):
                files.invalidate_cache()
                found = files.find(at, detail=True)
        except _ABSENT:
            return {}
        below = {name[len(at) + 1 :]: info for name, info in found.items() if name.startswith(f"{at}/")}
        return {
            name: -1 if info.get("islink") else info["size"]
            for name, info in below.items()
            if not {"", ".", ".."} & set(name.split("/"))  # a name in a bucket may be anything; these become local files
        }

    def remove_tree(self, path: PurePosixPath) -> None:
        """Removes all files below a name, if there are any."""
        self.remove_trees([path])

    def remove_trees(self, paths: Sequence[PurePosixPath]) -> None:
        """Removes all files below several names, in one request where the storage can do that."""
        if not paths:
            return
        with self._changing("remove", paths[0]) as (files, _):
            names = [self._at(path) for path in paths]
            files.invalidate_cache()
            try:
                files.rm(names, recursive=True)
            except _ABSENT:
                for name in names:  # one of them does not exist
                    with suppress(*_ABSENT):
                        files.rm(name, recursive=True)

    # -- the rest -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self, doing: str, path: PurePosixPath) -> Iterator[tuple[FileSystem, str]]:
        """Yields the open file system and a path in it. A missing file raises as it is; other errors suspend the run."""
        try:
            yield self._open()[0], self._at(path)
        except (PoptrainError, *_ABSENT):
            raise
        except Exception as error:  # each package has its own exceptions
            raise self.suspended(doing, path, error) from error

    @contextmanager
    def _changing(self, doing: str, path: PurePosixPath) -> Iterator[tuple[FileSystem, str]]:
        try:
            with self._reading(doing, path) as opened:
                yield opened
        except _ABSENT as error:  # the bucket does not exist
            raise self.suspended(doing, path, error) from error

    def suspended(self, doing: str, path: PurePosixPath, error: Exception | str) -> Suspended:
        """Returns the error for a run whose storage fails."""
        why = error if isinstance(error, str) else f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return Suspended(f"cannot {doing} {self.shown(path)} ({why}){HINT}, then `{poptrain('resume', self.run or 'DIR')}`.")

    def _open(self) -> tuple[FileSystem, str]:
        opened = self._opened
        if opened is None or opened[0] != os.getpid():  # a connection does not survive a fork
            opened = self._opened = (os.getpid(), *_file_system(self.url, self.protocol))
        return opened[1:]

    def _at(self, path: PurePosixPath) -> str:
        """Returns a path in the file system of fsspec."""
        base = self._open()[1]
        return f"{base}/{path}" if path.parts else base

    def _make_parent(self, files: FileSystem, at: str) -> None:
        if self.protocol not in BUCKETS:
            files.makedirs(at.rpartition("/")[0], exist_ok=True)

    def _settle(self, at: str, sync: bool) -> None:
        """Makes a file on a disk durable, with the names that lead to it. Other storage has done so when it answers."""
        if sync and self.protocol in ("file", "local"):
            path, base = Path(at), Path(self._open()[1])
            disk.fsync(path)
            for folder in path.parents:
                disk.fsync_dir(folder)
                if folder == base.parent:
                    break


def _file_system(url: str, protocol: str) -> tuple[FileSystem, str]:
    """Returns the file system of a URL, and the URL as a path in it.

    Raises:
        MissingExtra: fsspec, or its package for this protocol, is not installed.
        UsageError: fsspec does not know this protocol.
    """
    needed = f"checkpoints={url!r} needs {BUCKETS.get(protocol, 'fsspec')}: pip install {BUCKETS.get(protocol, 'fsspec')}"
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra(needed) from error
    try:
        fsspec.get_filesystem_class(protocol)
    except ValueError as error:
        near = did_you_mean(protocol, fsspec.available_protocols())
        raise UsageError(f"checkpoints={url!r}: fsspec does not know the protocol {protocol!r}.{near}") from error
    except ImportError as error:
        raise MissingExtra(needed if protocol in BUCKETS else f"checkpoints={url!r}: {error}") from error
    files, base = fsspec.core.url_to_fs(url)
    return files, base.rstrip("/")
