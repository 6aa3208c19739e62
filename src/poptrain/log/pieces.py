"""Lines that follow each other in a log, decoded up to what a history keeps as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from poptrain.core.gathered import RESULTS, TASKS, Floats, Gathered, gather, joined
from poptrain.log.blocks import Blocks, checksums, time_reader
from poptrain.log.codec import VERSION
from poptrain.log.usual import REFUSED, UsualLines, is_results


class Mark(NamedTuple):
    """What the next line of a log continues."""

    seq: int  # number of the next line
    epoch: int  # of the last line
    crc: int  # its checksum


class Piece(NamedTuple):
    """Some lines, of which all is known to be right but the order of their facts."""

    before: Mark
    after: Mark
    times: Floats  # when each line was written, in seconds since 1970; shape (lines,)
    told: Gathered


class Pieces:
    """Decodes the usual lines of one log, in their order."""

    def __init__(self) -> None:
        self.usual, self.time_of, self.blocks = UsualLines(), time_reader(), Blocks()

    def of(self, texts: Sequence[bytes], crcs: Sequence[int], before: Mark, tagged: bool) -> Piece | None:
        """Returns what the first of some lines tell; None if the very first can't be left to `UsualLines.made`.

        Args:
            texts: the lines, without their newlines.
            crcs: their checksums, which are right.
            before: what the first one continues.
            tagged: some of the lines may hold a tag.
        """
        entries = self.usual.checked(texts, tagged)
        n, epochs = len(entries), [before.epoch, *[entry.e for entry in entries]]
        if (
            not n
            or [entry.q for entry in entries] != [*range(before.seq, before.seq + n)]
            or epochs != sorted(epochs)
            or any([entry.v != VERSION for entry in entries])
        ):
            return None  # the line that cannot follow is decoded again, in a way that says what is wrong
        try:
            times = np.array([self.time_of(entry.w) for entry in entries])
            kinds = [RESULTS if is_results(entry) else TASKS for entry in entries]
            told = gather(kinds, [entry.d for entry in entries])
        except REFUSED:
            return None
        return Piece(before, Mark(before.seq + n, epochs[-1], crcs[n - 1]), times, told)

    def longest(self, data: bytes, at: int, before: Mark) -> tuple[Piece | None, int]:
        """Returns what all lines from byte `at` on tell, up to the first that is not as usual, and the byte of that one."""
        parts: list[Piece] = []
        while texts := self.blocks.next(data, at):
            crcs = checksums(texts, before.crc)
            piece, taken = self.of(texts[: len(crcs)], crcs, before, self.blocks.tagged), 0
            if piece is not None:
                parts.append(piece)
                before, taken = piece.after, len(piece.times)
                at += sum(map(len, texts[:taken])) + taken
            if not self.blocks.seen(taken == len(texts)):
                break
        if not parts:
            return None, at
        times, told = np.concatenate([part.times for part in parts]), joined([part.told for part in parts])
        return Piece(parts[0].before, before, times, told), at
