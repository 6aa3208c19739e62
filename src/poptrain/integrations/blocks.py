"""Long arrays in the checkpoint directory of a member, in blocks of rows: a checkpoint writes only the blocks that are new.

A replay buffer grows at one place and is the same everywhere else. So its rows are cut into blocks at fixed positions, all arrays
together, and each block is a file with the SHA-256 of its bytes as its name. A block that the member's last checkpoint holds gets
a second name, a hard link, and is not written again. Every checkpoint is complete, and the disk frees a block with the last
checkpoint that holds it. Where links are not possible, as at a URL, the block is written again.

Rows that are Python objects have blocks of their own. Packing them is slow, so a block whose rows are the same objects as at the
last checkpoint is not packed again: rows must be replaced, never changed in place.
"""

from __future__ import annotations

import operator
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from poptrain.core.errors import CheckpointDamaged

BLOCK_BYTES = 1 << 20  # of a block, at least
BLOCK_OBJECTS = 256  # of a block of objects, at least
MOST_BLOCKS = 1024  # of arrays that are full
FOLDER = "blocks"

Arrays = Mapping[str, np.ndarray]  # with rows in common
Packed = list[tuple[list[object], str]]  # the objects of each block and its name
Index = dict[str, Any]  # plain: which blocks hold the rows, and how a row is stored


class Blocks:
    """Writes and reads the blocks of one member, and remembers where the last ones are: that directory may get another name."""

    def __init__(self) -> None:
        self._last: int | None = None  # a descriptor of the directory: it stays valid when a checkpoint gets its final name
        self._packed: Packed = []
        self._release = weakref.finalize(self, lambda: None)

    def write(
        self,
        directory: Path,
        arrays: Arrays,
        capacity: int,
        objects: Sequence[object] = (),
        pack: Callable[[Sequence[object]], bytes] | None = None,
    ) -> Index:
        """Stores the rows of some arrays, and returns what `read` needs.

        Args:
            directory: of the checkpoint, in which `FOLDER` is made.
            arrays: each of shape (rows, …).
            capacity: rows that there will be at most; it decides where the blocks begin, so it must not change.
            objects: other rows, which `pack` turns into bytes, a block of them at a time; there may be more than `capacity`.
        """
        folder = Path(directory) / FOLDER
        folder.mkdir()
        here = _opened(folder)
        rows = len(next(iter(arrays.values())))
        size = _rows_of_a_block(arrays, capacity)
        names: list[str] = []
        for begin in range(0, rows, size):
            parts = [np.ascontiguousarray(array[begin : begin + size]).reshape(-1).view(np.uint8) for array in arrays.values()]
            names.append(self._store(folder, here, parts))
        self._packed = [] if pack is None else self._pack(folder, here, objects, max(capacity, len(objects)), pack)
        self._remember(here)
        stored = {name: {"dtype": array.dtype.str, "shape": list(array.shape[1:])} for name, array in arrays.items()}
        return {"rows": rows, "size": size, "blocks": names, "arrays": stored, "objects": [name for _, name in self._packed]}

    def read(self, directory: Path, index: Index) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Yields the first row of each block, and the rows of its arrays.

        Raises:
            CheckpointDamaged: a block is not what `write` has stored.
        """
        folder = Path(directory) / FOLDER
        for number, name in enumerate(index["blocks"]):
            data = _verified(folder / name)
            begin, at, parts = number * index["size"], 0, {}
            rows = min(index["size"], index["rows"] - begin)
            for array, about in index["arrays"].items():
                shape, dtype = (rows, *about["shape"]), np.dtype(about["dtype"])
                parts[array] = np.frombuffer(data, dtype, int(np.prod(shape)), at).reshape(shape)
                at += parts[array].nbytes
            yield begin, parts
        self._remember(_opened(folder))

    def read_objects(self, directory: Path, index: Index, unpack: Callable[[bytes], list[object]]) -> list[object]:
        """Returns the rows that are objects. Call it before the end of `read`.

        Raises:
            CheckpointDamaged: a block is not what `write` has stored.
        """
        folder = Path(directory) / FOLDER
        self._packed = [(unpack(_verified(folder / name)), name) for name in index.get("objects", ())]
        return [each for block, _ in self._packed for each in block]

    def _pack(
        self, folder: Path, here: int | None, objects: Sequence[object], most: int, pack: Callable[[Sequence[object]], bytes]
    ) -> Packed:
        """Returns the blocks of rows that are objects; those that have not changed are not packed."""
        packed: Packed = []
        step = max(BLOCK_OBJECTS, -(-most // MOST_BLOCKS))
        for number, begin in enumerate(range(0, len(objects), step)):
            block = list(objects[begin : begin + step])
            known, name = self._packed[number] if number < len(self._packed) else ([], "")
            same = len(block) == len(known) and all(map(operator.is_, block, known)) and len(set(map(id, block))) == len(block)
            if not same or not self._linked(name, here):  # an object in many rows is one that its owner changes in place
                name = self._store(folder, here, [np.frombuffer(pack(block), np.uint8)])
            packed.append((block, name))
        return packed

    def _store(self, folder: Path, here: int | None, parts: Sequence[np.ndarray]) -> str:
        """Returns the name of a block that has these bytes, which it writes if the last checkpoint has no such block."""
        digest = sha256()
        for part in parts:
            digest.update(part.data)
        name = digest.hexdigest()
        if not (folder / name).exists() and not self._linked(name, here, sum(part.nbytes for part in parts)):
            with open(folder / name, "xb") as file:
                file.writelines(part.data for part in parts)
        return name

    def _linked(self, name: str, here: int | None, size: int | None = None) -> bool:
        """Gives a block of the last checkpoint a name here; False if it is not there any more, or there are no links."""
        if self._last is None or here is None:
            return False
        with suppress(OSError):
            os.link(name, name, src_dir_fd=self._last, dst_dir_fd=here)
            if size is None or os.stat(name, dir_fd=here).st_size == size:
                return True
            os.unlink(name, dir_fd=here)
        return False

    def _remember(self, folder: int | None) -> None:
        self._release()
        self._last = folder
        self._release = weakref.finalize(self, lambda: None if folder is None else os.close(folder))


def _verified(path: Path) -> bytes:
    """Returns the content of a block."""
    data = path.read_bytes()
    if sha256(data).hexdigest() != path.name:
        raise CheckpointDamaged(f"{path} differs from the hash that is its name.")
    return data


def _opened(folder: Path) -> int | None:
    """Returns a descriptor of a directory; None where a system has none."""
    return os.open(folder, os.O_RDONLY) if os.link in os.supports_dir_fd else None


def _rows_of_a_block(arrays: Arrays, capacity: int) -> int:
    """Returns how many rows a block has: the same at every checkpoint of a member."""
    bytes_of_a_row = sum(array.dtype.itemsize * int(np.prod(array.shape[1:])) for array in arrays.values())
    return max(1, -(-BLOCK_BYTES // max(bytes_of_a_row, 1)), -(-capacity // MOST_BLOCKS))
