"""Reading the files of a checkpoint, each compared with what its manifest says."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from poptrain.checkpoints.files import FilePath, Files
from poptrain.checkpoints.manifest import FileEntry, misfit


class Mismatch(Exception):
    """A file differs from its manifest."""

    def __init__(self, file: str, what: str):
        super().__init__(f"{file} {what}")
        self.file, self.what = file, what


def read_verified(
    fs: Files, directory: FilePath, expected: Mapping[str, FileEntry], keep: bool, hash_below: int | None, exclusive: bool
) -> dict[str, bytes]:
    """Returns the bytes of all files by name, or nothing unless `keep`.

    Args:
        directory: of the checkpoint.
        hash_below: of files with this many bytes or more only the size is checked; None: hash all files.
        exclusive: there may be no other file.

    Raises:
        Mismatch: a file is missing, or differs from what was committed.
    """
    files = dict[str, bytes]()
    try:
        found = fs.walk(directory)  # it follows no link, so a manifest cannot name a file outside
    except (FileNotFoundError, NotADirectoryError):
        found = {}  # it was removed just now
    if (wrong := misfit(expected, found, exclusive)) is not None:
        raise Mismatch(*wrong)
    for file, entry in expected.items():
        if keep:
            files[file] = fs.read(directory / file)
        if hash_below is not None and entry["size"] >= hash_below:
            continue
        if (sha256(files[file]).hexdigest() if keep else fs.digest(directory / file)) != entry["sha256"]:
            raise Mismatch(file, "differs from its hash")
    return files
