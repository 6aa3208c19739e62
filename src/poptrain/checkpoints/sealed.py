"""Makes the files durable that the user's code wrote, and hashes them.

Each file is flushed by itself: a flush of the whole disk reports no errors. Of many files, several are flushed at the same time,
so that the disk writes them together.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from poptrain.checkpoints.files import FilePath, Files
from poptrain.checkpoints.manifest import USER, FileEntry

FEW = 64  # files that are flushed one after another: threads would take longer to start
AT_A_TIME = 32


def sealed(fs: Files, root: FilePath, durable: bool) -> dict[str, FileEntry]:
    """Returns the size and the hash of every file below a directory, by its relative path, after it has been flushed.

    Raises:
        ValueError: the directory holds a link or a pipe.
    """
    sizes = dict(sorted(fs.walk(root).items()))
    for file, size in sizes.items():
        if size < 0:
            raise ValueError(f"save wrote {file}, a link or pipe: a checkpoint consists of regular files")

    def entry(file: str) -> FileEntry:
        if durable:
            fs.fsync(root / file)
        return {"size": sizes[file], "sha256": fs.digest(root / file)}

    if len(sizes) <= FEW:
        files = {file: entry(file) for file in sizes}
    else:
        with ThreadPoolExecutor(AT_A_TIME, "poptrain-seal") as pool:
            files = dict(zip(sizes, pool.map(entry, sizes), strict=True))
    if durable:
        for directory in sorted({USER} | {str(parent) for file in files for parent in Path(file).parents[:-1]}):
            fs.fsync_dir(root / directory)
    return files
