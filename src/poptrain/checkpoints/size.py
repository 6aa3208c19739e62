"""How large a carry is, before it is walked through: one list can stand in it in many places, and be 2^40 values."""

from __future__ import annotations

from poptrain.core import Carry
from poptrain.core.counting import counted

DEEPEST = 100  # levels; each is one level of the manifest's JSON or two, which every reader can take
MOST = 10_000_000  # values outside of arrays: more take minutes and gigabytes
_CONTAINERS = (dict, list, tuple)


def check_size(tree: Carry) -> None:
    """Raises a TypeError that names the place if a carry contains itself, is too deep, or has too many values.

    It looks once at every container, also where that stands in many places, and at no array.
    """
    if type(tree) in _CONTAINERS:
        _size(tree, [], {})


def _size(tree: Carry, path: list[str | int], known: dict[int, int | None]) -> int:
    """Returns the number of values in a container, counted in every place where they stand.

    Args:
        known: by the id of a container: its number; None while it is being counted.
    """
    if len(path) > DEEPEST:
        raise TypeError(f"{_where(path)}: the carry has more than {DEEPEST} levels: make it flatter")
    known[id(tree)] = None
    total = len(tree)
    for key, value in tree.items() if type(tree) is dict else enumerate(tree):
        if type(value) in _CONTAINERS:
            path.append(key)
            size = known.get(id(value), -1)
            if size is None:
                raise TypeError(f"{_where(path)}: the carry contains itself: leave out the reference to what it is in")
            total += _size(value, path, known) if size < 0 else size
            path.pop()
    if total > MOST:
        raise TypeError(
            f"{_where(path)}: it has {counted(total, 'value')}, each counted in every place where it stands, but "
            "a carry has at most "
            f"{MOST:,} outside of arrays: use arrays"
        )
    known[id(tree)] = total
    return total


def _where(path: list[str | int]) -> str:
    """Returns the place of a value. The name of a key may be of any length, and so may the path."""
    parts = [f"[{key!r:.40}]" for key in path]
    return "carry" + ("".join(parts) if len(parts) <= 8 else f"{''.join(parts[:4])}…{''.join(parts[-2:])}")
