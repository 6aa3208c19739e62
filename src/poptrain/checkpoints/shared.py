"""Large arrays that do not change from one checkpoint to the next are stored once: replay memories, frozen weights, data.

An array of at least a MiB is a file of its own, ``shared/<SHA-256 of its bytes>``; of a population's carry each lane is one. A
checkpoint that holds an array which is stored already has a hard link to its file. So every checkpoint is complete, the disk
frees the bytes with the last checkpoint that holds them, and nothing is counted. Where links are not possible, as at a URL, the
file is written again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import numpy as np

from poptrain.checkpoints.files import FilePath, Files
from poptrain.checkpoints.manifest import SHARED, FileEntry, SharedArray

SHARED_BYTES = 1 << 20  # size from which on an array, or a lane of it, is a file of its own
LARGE_BYTES = 8 << 20  # size from which on a file is written while it is hashed
FRESH = "fresh"  # its name until then
_REMEMBERED = 1 << 16  # files that a store knows, about 10 MB of names

Part = tuple[str, int]  # the name of an array, and the lane
Array = np.ndarray[Any, np.dtype[Any]]


def split(arrays: Mapping[str, Array], lanes: int | None) -> tuple[dict[str, Array], dict[str, list[Array]]]:
    """Returns the arrays that are stored together, and by name the parts of those that are stored on their own.

    Args:
        lanes: members of a population; None: the carry of one.
    """
    together, parts = dict[str, Array](), dict[str, list[Array]]()
    for name, array in arrays.items():
        if array.nbytes < SHARED_BYTES or not array.ndim:
            together[name] = array
        elif lanes and len(array) == lanes and array.nbytes >= SHARED_BYTES * lanes:
            parts[name] = np.split(array, lanes)
        elif lanes:
            together[name] = array
        else:
            parts[name] = [array]
    return together, parts


def join(shared: Mapping[str, SharedArray], files: Mapping[str, bytes]) -> dict[str, Array]:
    """Returns the arrays whose parts are in files, by name.

    Raises:
        LookupError, ValueError: the files do not belong to them.
    """
    arrays = {}
    for name, about in shared.items():
        whole = b"".join(files[f"{SHARED}/{file}"] for file in about["files"])
        arrays[name] = np.frombuffer(bytearray(whole), np.dtype(about["dtype"])).reshape(about["shape"])
    return arrays


class SharedFiles:
    """Where a store has seen which shared file. Forgetting one costs disk space and nothing else."""

    def __init__(self, fs: Files):
        self._fs = fs
        self._places: dict[str, FilePath] = {}  # by hash
        self._constant: set[Part] = set()  # what did not change from one checkpoint to the next, lately

    def write(
        self, directory: FilePath, parts: Mapping[str, Sequence[Array]], durable: bool
    ) -> tuple[dict[str, SharedArray], dict[str, FileEntry]]:
        """Writes or links the files of arrays into a checkpoint, and returns what its manifest says about both.

        The files are durable then, but their names in `SHARED` are not.

        Args:
            directory: of the checkpoint.
            parts: from `split`.
        """
        shared, files = dict[str, SharedArray](), dict[str, FileEntry]()
        if parts:
            self._fs.make_dir(directory / SHARED)
        for name, pieces in parts.items():
            hashes = []
            for index, piece in enumerate(pieces):
                data = np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data
                hashes.append(hash := self._write(directory / SHARED, (name, index), data, files, durable))
                files[f"{SHARED}/{hash}"] = {"size": data.nbytes, "sha256": hash}
            shared[name] = {"dtype": pieces[0].dtype.str, "shape": [sum(map(len, pieces)), *pieces[0].shape[1:]], "files": hashes}
        return shared, files

    def _write(self, folder: FilePath, part: Part, data: memoryview, files: Mapping[str, FileEntry], durable: bool) -> str:
        """Writes or links one file, and returns the hash of its bytes, which is its name.

        A large file is written while it is hashed, under another name at first; but the bytes of a part that was the same in two
        checkpoints are hashed before anything is written.
        """
        early = self._fs.renames and data.nbytes >= LARGE_BYTES and part not in self._constant
        if early:
            with ThreadPoolExecutor(1, "poptrain-hash") as pool:
                hashing = pool.submit(sha256, data)
                self._fs.write_new(folder / FRESH, data, durable)
                hash = hashing.result().hexdigest()
        else:
            hash = sha256(data).hexdigest()
        known, place = self._places.get(hash), folder / hash
        if f"{SHARED}/{hash}" in files or (known is not None and self._fs.link(known, place, data.nbytes)):
            self._constant.add(part)
            if early:
                self._fs.remove_tree(folder / FRESH)
        elif early:
            self._fs.rename(folder / FRESH, place)
        else:
            self._constant.discard(part)
            self._fs.write_new(place, data, durable)
        return hash

    def remember(self, directory: FilePath, files: Mapping[str, FileEntry]) -> None:
        """Notes the shared files of a checkpoint that is complete."""
        for file, about in files.items():
            if file.startswith(f"{SHARED}/"):
                self._places[about["sha256"]] = directory / file
        while len(self._places) > _REMEMBERED:
            del self._places[next(iter(self._places))]
