"""Reads long logs in blocks of lines: the work for each line is done by loops in C, or at most once for each second of a log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress, count
from operator import ne
from struct import pack
from zlib import crc32

from poptrain.core import clock

FIRST, MOST = 1 << 12, 1 << 17  # bytes of a block: they double as long as all lines are as usual, and stay in the cache
ESCAPED = b"\\u0024"  # a dollar sign, which begins a tag
_MILLISECONDS = {f".{number:03d}Z": number for number in range(1000)}  # how `clock.utc` ends


class Blocks:
    """Divides the lines of a log into blocks."""

    def __init__(self) -> None:
        self._size = FIRST
        self.tagged = False  # True if some of the lines that `next` returned may hold a tagged number

    def next(self, data: bytes, at: int, until: int | None = None) -> list[bytes]:
        """Returns the next whole lines from byte `at` on, without their newlines, up to the first that is not ASCII; [] if there
        are none. None of them goes beyond byte `until`.
        """
        until = len(data) if until is None else until
        end = data.rfind(b"\n", at, min(at + self._size, until))
        if end < 0 and (end := data.find(b"\n", at, until)) < 0:
            return []
        block = data[at:end]
        texts, self.tagged = block.split(b"\n"), b"$" in block or b"\\" in block  # or an escape of it
        return texts if block.isascii() else texts[: [text.isascii() for text in texts].index(False)]

    def seen(self, usual: bool) -> bool:
        """Is called after a block, with whether all of its lines were as usual, and returns that."""
        self._size = min(2 * self._size, MOST) if usual else FIRST
        return usual


def checksums(texts: Sequence[bytes], crc: int) -> list[int]:
    """Returns the CRCs of lines that follow one with the checksum `crc`, up to the first that does not end in its own."""
    found = []
    for text in texts:
        crc = crc32(b"}", crc32(text[:-16], crc))
        found.append(crc)
    if not found:
        return found
    expected = ',"c":"' + pack(f">{len(found)}I", *found).hex("|", 4).replace("|", '"},"c":"') + '"}'
    if b"".join([text[-16:] for text in texts]) == expected.encode():
        return found
    ends = [expected[at : at + 16].encode() for at in range(0, len(expected), 16)]
    return found[: next(compress(count(), map(ne, [text[-16:] for text in texts], ends)), len(found))]


def time_reader() -> Callable[[str], float]:
    """Returns `clock.parse_utc` for times that follow each other: those of one second are read four times as fast."""
    second, base = "", 0

    def read(text: str) -> float:
        nonlocal second, base
        milliseconds = _MILLISECONDS.get(text[19:])
        if milliseconds is None:
            return clock.parse_utc(text)
        if text[:19] != second:
            base = 1000 * int(clock.parse_utc(f"{text[:19]}Z"))
            second = text[:19]
        return (base + milliseconds) / 1000

    return read
