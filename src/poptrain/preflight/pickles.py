"""Do two pickles hold equal objects? Their bytes do not tell.

A pickle writes an object that stands in two places once, and names it at the second place. An object that was loaded shares
other things than one that was made, such as the types of its arrays, so that equal members write different bytes. Here a pickle
is read as a graph of its instructions, in which both are one. Nothing is executed or imported. Arrays of joblib lie between
the instructions, and are read over.
"""

from __future__ import annotations

import io
import pickletools
from dataclasses import dataclass, field
from itertools import chain
from math import prod
from zipfile import ZipFile

import numpy as np

START = b"\x80"  # of the protocols from 2 on
ARCHIVE = b"PK\x03\x04"
BY_BYTES = "serialization_id"  # an entry of torch that follows from the bytes of the others
PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
GETS = {"GET", "BINGET", "LONG_BINGET"}
CHANGES = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}  # of the object below, which stays where it is
STRING = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
WRAPPER = ["joblib.numpy_pickle", "NumpyArrayWrapper"]  # an array follows where one of these was built


@dataclass(eq=False)
class Node:
    """An instruction with the objects that it took, and the changes that were made to its object."""

    name: str
    value: object = None
    parts: list[Node] = field(default_factory=list)


def same(a: bytes, b: bytes) -> bool | None:
    """Returns whether two files hold the same, by equal objects if they are pickles; None if a pickle cannot be read here.

    A file of ``torch.save`` is an archive with a pickle in it.
    """
    if a == b:
        return True
    if a.startswith(ARCHIVE) and b.startswith(ARCHIVE):
        one, other = _entries(a), _entries(b)
        found = [same(one[name], other[name]) for name in one] if one.keys() == other.keys() else [False]
        return False if False in found else None if None in found else True
    if not (a.startswith(START) and b.startswith(START)):
        return False
    try:
        return _equal(_graph(a), _graph(b))
    except Exception:  # bytes can fail to be a pickle in many ways
        return None


def _entries(data: bytes) -> dict[str, bytes]:
    with ZipFile(io.BytesIO(data)) as archive:
        names = (name for name in archive.namelist() if not name.endswith(BY_BYTES))
        return {name: archive.read(name) for name in names}


def _graph(data: bytes) -> Node:
    file, memo = io.BytesIO(data), {}
    mark, stack = Node("MARK"), [Node("BOTTOM")]
    for op, arg, _ in pickletools.genops(file):
        if op.name == "STOP":
            return stack[-1]
        if op.name == "MEMOIZE" or op.name in PUTS:
            memo[len(memo) if arg is None else int(arg)] = stack[-1]
        elif op.name in GETS:
            stack.append(memo[int(arg)])
        elif op.name == "MARK":
            stack.append(mark)
        elif op.name not in ("PROTO", "FRAME"):
            wanted = list(op.stack_before)
            parts: list[Node] = []
            if pickletools.stackslice in wanted:
                at = max(index for index, node in enumerate(stack) if node is mark)
                parts = stack[at + 1 :]
                del stack[at:]
                wanted = wanted[: wanted.index(pickletools.markobject)]
            parts = [stack.pop() for _ in wanted][::-1] + parts
            name = "STRING" if op.name in STRING else op.name
            if op.name in CHANGES:
                stack.append(parts[0])
                parts[0].parts.append(Node(name, arg, parts[1:]))
                if op.name == "BUILD" and _is_wrapper(parts[0]):
                    parts[0].parts.append(Node("ARRAY", _array(file, parts[1])))
            elif op.stack_after:
                stack.append(Node(name, arg, parts))
    raise ValueError("no end")


def _is_wrapper(node: Node) -> bool:
    return [part.value for part in chain(*(each.parts for each in node.parts[:1]))] == WRAPPER


def _array(file: io.BytesIO, state: Node) -> bytes:
    """Reads the bytes of an array of joblib, whose wrapper was built with `state`."""
    items = [item for change in state.parts for item in change.parts]
    about = {items[index].value: items[index + 1] for index in range(0, len(items), 2)}
    (kind, *_), shape = about["dtype"].parts[1].parts, [part.value for part in about["shape"].parts]
    dtype = np.dtype(kind.value)
    if dtype.hasobject:
        raise ValueError("a pickle inside a pickle")
    if "numpy_array_alignment_bytes" in about:
        file.read(file.read(1)[0])
    return file.read(prod(shape) * dtype.itemsize)


def _equal(a: Node, b: Node) -> bool:
    """True if two graphs are equal; an object that contains itself is looked at once."""
    seen: set[tuple[int, int]] = set()
    open: list[tuple[Node, Node]] = [(a, b)]
    while open:
        one, other = open.pop()
        if (id(one), id(other)) in seen:
            continue
        seen.add((id(one), id(other)))
        if one.name != other.name or not _alike(one.value, other.value) or len(one.parts) != len(other.parts):
            return False
        open += zip(one.parts, other.parts, strict=True)
    return True


def _alike(a: object, b: object) -> bool:
    """True for equal bytes, which may be those of large arrays, and for other values that are written alike, such as NaN."""
    return a == b if isinstance(a, (bytes, bytearray)) else repr(a) == repr(b)
