"""The files that the user's code wrote, as the manifest names them."""

from __future__ import annotations

import errno
from pathlib import Path

from poptrain.checkpoints.files import FilePath, Files
from poptrain.checkpoints.manifest import USER, FileEntry
from poptrain.core.errors import Suspended

_LEFT_BY_SAVE = (errno.ENAMETOOLONG, errno.EACCES)  # below a directory that was made a moment ago


def sealed(fs: Files, root: FilePath) -> tuple[dict[str, FileEntry], list[FilePath]]:
    """Returns the size and the hash of every file below a directory, by its relative path, and all their directories.

    Raises:
        ValueError: the directory is gone, or it holds a link, a pipe, or what cannot be read: that is what ``save`` left.
    """
    files: dict[str, FileEntry] = {}
    try:
        for file, size in sorted(fs.walk(root).items()):
            if size < 0:
                raise ValueError(f"save wrote {file}, a link or pipe: a checkpoint consists of regular files")
            files[file] = {"size": size, "sha256": fs.digest(root / file)}
    except Suspended as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in _LEFT_BY_SAVE:
            raise
        raise ValueError(f"save wrote what cannot be read again ({error.__cause__.strerror})") from error
    if USER in files or not fs.exists(root / USER):
        raise ValueError("save removed or replaced the directory that it was passed: it must only write into it")
    return files, [root / folder for folder in sorted({USER} | {str(up) for file in files for up in Path(file).parents[:-1]})]
