"""The files that the user's code wrote, as the manifest names them."""

from __future__ import annotations

from pathlib import Path

from poptrain.checkpoints.files import FilePath, Files
from poptrain.checkpoints.manifest import USER, FileEntry


def sealed(fs: Files, root: FilePath) -> tuple[dict[str, FileEntry], list[FilePath]]:
    """Returns the size and the hash of every file below a directory, by its relative path, and all their directories.

    Raises:
        ValueError: the directory holds a link or a pipe.
    """
    files: dict[str, FileEntry] = {}
    for file, size in sorted(fs.walk(root).items()):
        if size < 0:
            raise ValueError(f"save wrote {file}, a link or pipe: a checkpoint consists of regular files")
        files[file] = {"size": size, "sha256": fs.digest(root / file)}
    return files, [root / folder for folder in sorted({USER} | {str(up) for file in files for up in Path(file).parents[:-1]})]
