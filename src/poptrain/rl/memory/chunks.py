"""Replay memories in a carry: lists of chunks that are filled once and never change again.

``{"chunks": [(P, rows, width) uint32, …], "first": (P,), "count": (P,)}``: chunk k of a member holds its rows from
(first + k) * rows on, counted from the first row that it ever added; `count` is the number of rows so far. Only the last chunk is
shorter. A chunk is at least a MiB, the size from which on a store keeps equal arrays once: a checkpoint writes the chunks that
are new, and a clone shares those of its parent. In RAM, an interval passes on the arrays of complete chunks, and `gathered` does
so with all of them if every member keeps its place. A clone takes another place: then the arrays are copied.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poptrain.rl.memory.rows import Row
from poptrain.rl.trees import Parts

CHUNK_BYTES = 1 << 20
Piece = tuple[np.ndarray, int]  # a chunk of one member: an array (members, rows, width), and the place in it


def chunk_rows(row: Row) -> int:
    """Returns the rows of a chunk."""
    return -(-CHUNK_BYTES // (4 * row.width))


def empty_chunks(members: int) -> Parts:
    """Returns the memories of members without a row."""
    return {"chunks": [], "first": np.zeros(members, np.int64), "count": np.zeros(members, np.int64)}


def held_rows(memory: Parts, member: int, row: Row, capacity: int) -> np.ndarray:
    """Returns a member's rows, (n, width), the oldest first; n is at most `capacity`."""
    size, count, first = chunk_rows(row), int(memory["count"][member]), int(memory["first"][member])
    parts = [chunk[member] for chunk in memory["chunks"]]
    whole = np.concatenate(parts) if parts else np.empty((0, row.width), np.uint32)
    begin = max(first * size, count - capacity)
    return whole[begin - first * size : count - first * size]


def packed(memory: Parts, added: Sequence[np.ndarray], row: Row, capacity: int) -> Parts:
    """Returns the memories after rows were added to them.

    Args:
        memory: before the interval; its full chunks are used again.
        added: the new rows of each member, (n, width).
    """
    size, lists = chunk_rows(row), []
    first, count = memory["first"].copy(), memory["count"].copy()
    for member, rows in enumerate(added):
        old, start = int(count[member]), int(first[member])
        count[member] = old + len(rows)
        first[member] = max(start, max(0, int(count[member]) - capacity) // size)
        full = old // size - start  # chunks that are complete already
        tail = memory["chunks"][full][member][: old % size] if old % size else np.empty((0, row.width), np.uint32)
        fresh = np.concatenate([tail, rows])
        own: list[Piece] = [(memory["chunks"][k], member) for k in range(full)]
        own += [(fresh[None, begin : begin + size], 0) for begin in range(0, len(fresh), size)]
        lists.append(own[int(first[member]) - start :])
    return {"chunks": _aligned(lists, row.width), "first": first, "count": count}


def gathered(lanes: Sequence[tuple[Parts, int]]) -> Parts:
    """Returns the memories of the given lanes, each (memory, index), as one memory."""
    lists = [[(chunk, i) for chunk in memory["chunks"]] for memory, i in lanes]
    width = max((chunk.shape[-1] for own in lists for chunk, _ in own), default=0)
    numbers = {name: np.asarray([memory[name][i] for memory, i in lanes], np.int64) for name in ("first", "count")}
    return {"chunks": _aligned(lists, width), **numbers}


def _aligned(lists: Sequence[Sequence[Piece]], width: int) -> list[np.ndarray]:
    """Returns the members' lists of chunks as one list of arrays with a leading axis of members; missing rows are zeros.

    An array that holds a chunk of every member in its place already is used as it is: arrays of chunks are never written to.
    """
    aligned, missing = [], (np.empty((1, 0, width), np.uint32), 0)
    for k in range(max(map(len, lists), default=0)):
        pieces = [own[k] if k < len(own) else missing for own in lists]
        whole = pieces[0][0]
        if len(whole) == len(lists) and all(array is whole and place == i for i, (array, place) in enumerate(pieces)):
            aligned.append(whole)
            continue
        chunks = [array[place] for array, place in pieces]
        together = np.zeros((len(lists), max(map(len, chunks)), width), np.uint32)
        for member, chunk in enumerate(chunks):
            together[member, : len(chunk)] = chunk
        aligned.append(together)
    return aligned
