"""The lines of a log in order, of which those that were read as bytes become facts when they are first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import overload

from poptrain.core.facts import Json, Line, maximised


class Unread:
    """A line of facts that will be made from something else, such as the bytes of a log, which are known to be well-formed.

    Opening a run of a million results makes none of them, which saves a third of the time. All copies of a list of lines hold the
    same objects of this class, so the facts of a line are made once.
    """

    __slots__ = ("_held", "_read")

    def __init__(self, source: Json, read: Callable[[Json], Line]):
        self._held, self._read = source, read

    @property
    def source(self) -> Json:
        """What the facts will be made from; the facts themselves, once they are made."""
        return self._held

    def facts(self) -> Line:
        """Returns the facts, which are kept from then on in place of their source."""
        held = self._held
        if type(held) is not tuple:
            held = self._held = self._read(held)
        return held  # type: ignore[no-any-return]


class Lines(Sequence[Line]):
    """Lines of facts. A slice shares its lines with the whole."""

    __slots__ = ("_items",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, items: Iterable[Line | Unread] = ()):
        self._items: list[Line | Unread] = items._items.copy() if isinstance(items, Lines) else list(items)

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, at: int) -> Line: ...
    @overload
    def __getitem__(self, at: slice) -> Lines: ...
    def __getitem__(self, at: int | slice) -> Line | Lines:
        if isinstance(at, slice):
            return Lines(self._items[at])
        item = self._items[at]
        return item.facts() if isinstance(item, Unread) else item

    def __iter__(self) -> Iterator[Line]:
        for item in self._items:
            yield item.facts() if isinstance(item, Unread) else item

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, (Lines, list)) else NotImplemented

    def __repr__(self) -> str:
        return repr(list(self))

    def append(self, line: Line) -> None:
        """Adds a line."""
        self._items.append(line)

    def append_unread(self, texts: Iterable[bytes], read: Callable[[bytes], Line]) -> None:
        """Adds lines whose facts `read` will return."""
        self._items += [Unread(text, read) for text in texts]

    def sources(self) -> Iterator[Json]:
        """Yields each line, as facts if these are made, or else what they will be made from."""
        for item in self._items:
            yield item.source if isinstance(item, Unread) else item

    def maximised(self, sign: int) -> Lines:
        """Returns the lines with maximised scores; `sign` is -1 if theirs are minimised."""
        if sign > 0:
            return self
        return Lines([Unread(item, _flipped) if isinstance(item, Unread) else maximised(item, sign) for item in self._items])


def _flipped(unread: Unread) -> Line:
    return maximised(unread.facts(), -1)
