"""A log with the order of its lines: facts, and the administration between them."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from poptrain.core import Json, Line, Lost, tasks_of
from poptrain.log.finding import segment_name
from poptrain.log.notes import COMPLETE
from poptrain.log.pieces import Piece
from poptrain.log.reader import Record


class TraceEntry(NamedTuple):
    """One line of the log, with its place: facts, or administration."""

    number: int  # in the run, from 0
    place: str  # file and line
    type: str  # of administration; "" for facts
    fields: Mapping[str, Json]  # of administration; {} for facts
    line: Line | None  # the facts; None for administration
    sound: bool  # the reader knows that each of the facts is well-formed


class Note(NamedTuple):
    """A line of administration."""

    number: int  # in the run, from 0
    at: int  # lines of facts before it
    type: str
    fields: Mapping[str, Json]


class Trace(Record):
    """A record that keeps administration and facts in the order in which they were written."""

    def __init__(self, directory: Path | None = None):
        super().__init__(directory)
        self.order = None  # `walk` reports the first fact that is impossible, instead of an unreadable log
        self.notes: list[Note] = []
        self.numbers = array("q")  # of each of `lines`, in the run
        self.unsound: list[int] = []  # those of `lines` of which the reader does not know that each fact is well-formed
        self.lost: set[int] = set()  # tasks whose checkpoints were lost
        self._begins: list[tuple[int, int]] = []  # number of the first line of each file, and the number of the file

    def note(self, type: str, data: Json, time: float, line: Line | None = None) -> None:
        """Adds facts, or administration."""
        self._begin()
        if line is not None:
            self.unsound.append(len(self.lines))
            self.lost.update(fact.task for fact in line if isinstance(fact, Lost))
            self.numbers.append(self.seq)
        else:
            self.notes.append(Note(self.seq, len(self.lines), type, data if isinstance(data, Mapping) else {}))
        super().note(type, data, time, line)

    def _take_piece(self, piece: Piece, texts: Sequence[bytes]) -> bool:
        self._begin()
        seq = self.seq
        taken = super()._take_piece(piece, texts)
        self.numbers.extend(range(seq, self.seq))
        return taken

    def _take_entries(self, entries: list[Json], crcs: list[int]) -> int:
        self._begin()
        seq = self.seq
        taken = super()._take_entries(entries, crcs)
        self.numbers.extend(range(seq, seq + taken))
        return taken

    def _begin(self) -> None:
        if not self._begins or self._begins[-1][1] < self.segment:
            self._begins.append((self.seq - self.number, self.segment))

    def place(self, number: int) -> str:
        """Returns the file and the line in it of a line of the run."""
        begin, segment = self._begins[bisect_right(self._begins, (number, self.segment)) - 1]
        return f"{segment_name(segment)} line {number - begin + 1}"

    def facts(self, at: int, *, sound: bool = True) -> TraceEntry:
        """Returns one of `lines` with its place."""
        return TraceEntry(self.numbers[at], self.place(self.numbers[at]), "", {}, self.lines[at], sound)

    def administration(self, note: Note) -> TraceEntry:
        """Returns a line of administration with its place."""
        return TraceEntry(note.number, self.place(note.number), note.type, note.fields, None, False)

    def entries(self) -> Iterator[TraceEntry]:
        """Yields all lines in their order."""
        at, unsound = 0, set(self.unsound)
        for note in [*self.notes, None]:
            end = len(self.lines) if note is None else note.at
            for index in range(at, end):
                yield self.facts(index, sound=index not in unsound)
            at = end
            if note is not None:
                yield self.administration(note)

    def asking(self) -> bytearray:
        """Returns 1 for each of `lines` before which the run still asked for tasks.

        It is 0 after the last tasks of a session that was cut off, suspended, or ended by a stop condition.
        """
        asking = bytearray(len(self.lines))
        later, stopped = False, True  # from the end backwards: do more tasks come in this session; was it stopped early
        end = len(self.lines)
        for note in [*reversed(self.notes), None]:
            begin = 0 if note is None else note.at
            last = end if later else next((at for at in range(end - 1, begin - 1, -1) if tasks_of(self.lines[at])), None)
            if last is not None:
                asking[begin:last] = b"\x01" * (last - begin)
                later = True
            if not stopped:
                asking[begin:end] = b"\x01" * (end - begin)
            end = begin
            if note is not None and note.type == "end":
                stopped = note.fields.get("reason") != COMPLETE
            if note is not None and note.type == "open":
                later, stopped = False, True
        return asking
