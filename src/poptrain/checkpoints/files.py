"""What a store needs of a file system. `poptrain.log.disk.FS` has it for a disk, `url_files.UrlFS` for a URL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

FilePath = Any  # a path that only its own file system understands; `/` continues it


class Files(Protocol):
    """A file system in which a store keeps checkpoints."""

    renames: bool  # True if `rename` costs nothing

    def home(self, directory: Path | str) -> FilePath:
        """Returns the place that everything is below."""
        ...

    def inside(self, root: FilePath, name: str) -> FilePath:
        """Returns ``root / name`` if the name is safe."""
        ...

    def shown(self, path: FilePath) -> str:
        """Returns a path as messages show it."""
        ...

    def write_new(self, path: FilePath, data: bytes | memoryview, sync: bool = True) -> None:
        """Writes a file that must not exist yet."""
        ...

    def read(self, path: FilePath, start: int = 0, limit: int = -1) -> bytes:
        """Returns the bytes of a file from `start`, at most `limit` of them."""
        ...

    def digest(self, path: FilePath) -> str:
        """Returns the SHA-256 of a file, whatever its size."""
        ...

    def exists(self, path: FilePath) -> bool:
        """True if anything has this name."""
        ...

    def make_dir(self, path: FilePath) -> None:
        """Makes a directory, unless it exists."""
        ...

    def flush(self, files: Iterable[FilePath], folders: Iterable[FilePath]) -> None:
        """Makes files and the names in directories durable, at the same time."""
        ...

    def fsync_dir(self, path: FilePath) -> None:
        """Makes the names in a directory durable."""
        ...

    def list(self, path: FilePath) -> list[str]:
        """Returns the names in a directory, sorted; an empty list if the directory does not exist."""
        ...

    def walk(self, path: FilePath) -> Mapping[str, int]:
        """Returns the size of every file below a directory by its relative path; links and pipes have -1."""
        ...

    def link(self, old: FilePath, new: FilePath, size: int) -> bool:
        """Gives a file of `size` bytes a second name; False if that is not possible here, or it is not such a file."""
        ...

    def rename(self, old: FilePath, new: FilePath) -> None:
        """Gives a file or directory another name, completely or not at all."""
        ...

    def remove_tree(self, path: FilePath) -> None:
        """Removes a directory with its content, if it exists."""
        ...
