"""The digest: what `status` needs of a long log, kept beside it, so that only the newest lines have to be decoded.

    RUN/digest.json      one line, made by the run itself (`sinks.digest`), about every second and at its end

It is derived, and never trusted over the log. Its checksum begins with the CRC-32 of all bytes of the log that it stands for,
so it is believed only if every byte of them is as it was and every byte of its own too; the lines behind them are read and
checked as always. If anything is amiss, or a newer line asks for what the digest left out, the whole log is read instead.

What to keep is not written down anywhere: `status` is taken once, and every task, result and time that it looks at is kept.
"""

from __future__ import annotations

import copy
import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

from poptrain.log.codec import decode_facts, decode_line, encode_facts, encode_line
from poptrain.log.disk import FS, default
from poptrain.log.reader import Record, read, segment_name
from poptrain.views.facts import Facts, Seat
from poptrain.views.gauges import TALLIES, Diversity, Tally
from poptrain.views.status import LAST, Status, status, status_of

NAME = "digest.json"
FORMAT = 2  # with facts of version 2 of the log
CHUNK = 1 << 19
_COUNTS = ("reported", "failed", "diverged", "steps", "best")
_SUMS = ("squares", "furthest", "selection", "decisions", "replaced", "pairs", "better", "worse")
_SEAT = ("head", "done", "failures", "spent", "error", "cloned")
_PLACE = ("epoch", "seq", "crc", "segment", "offset", "number", "_state", "_spent", "_opened", "_last")


class Unread(Exception):
    """Something is needed that the digest left out: read the whole log."""


class _Hole:
    """Stands for what was left out; whoever looks at it gets `Unread`."""

    def _refuse(self, *_: Any) -> Any:
        raise Unread

    __getattr__ = __index__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __add__ = __sub__ = __len__ = __iter__ = _refuse
    __radd__ = __rsub__ = __bool__ = __float__ = __getitem__ = _refuse
    __hash__ = None  # type: ignore[assignment]


HOLE = _Hole()


class Following:
    """The status of a run directory, now and again."""

    def __init__(self, directory: Path | str, fs: FS = default):
        self.directory, self.fs = directory, fs
        self.record = digested(directory, fs) or read(directory, fs)

    def look(self) -> Status:
        """Returns the status as the log stands now.

        Raises:
            UsageError: there is no run.
            LogDamaged: a line in the middle is bad.
        """
        try:
            self.record.refresh()
            return status(self.record)
        except Unread:
            self.record = read(self.directory, self.fs)
            return status(self.record)


def digested(directory: Path | str, fs: FS = default) -> Record | None:
    """Returns the record of a run as its digest has it, good for `status` alone; None if the digest cannot be believed."""
    path = Path(directory).resolve()
    try:
        text = fs.read(path / NAME).rstrip(b"\n")
        place = json.loads(text)["d"]["place"]
        prefix = prefix_crc(path, place["segment"], place["offset"], fs)
        data = decode_line(text, prefix).data
        return unpacked(data, Record(path, fs)) if data["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):  # UsageError, for a link, is a ValueError
        return None


def encoded(record: Record, facts: Facts, prefix: int) -> bytes:
    """Returns the digest of a record as a line of text; `prefix` is the CRC-32 of the log's bytes up to its offset."""
    return encode_line("digest", packed(record, facts), seq=record.seq, epoch=record.epoch, wall="", crc=prefix)[0]


def prefix_crc(directory: Path, segment: int, offset: int, fs: FS) -> int:
    """Returns the CRC-32 of the log up to a byte of a segment."""
    crc = 0
    for number in range(1, segment + 1):
        path = directory / segment_name(number)
        end = offset if number == segment else fs.size(path)
        for at in range(0, end, CHUNK):  # in pieces that stay in the processor's cache: twice as fast
            crc = crc32(fs.read(path, at, min(CHUNK, end - at)), crc)
    return crc


# -- what is kept ---------------------------------------------------------------------------------------------------------


class _Watched:
    """A list that notes which of its items were looked at."""

    def __init__(self, items: list[Any], seen: set[int]):
        self._items, self._seen = items, seen

    def __getitem__(self, index: Any) -> Any:
        chosen = range(len(self._items))[index]
        self._seen.update(chosen if isinstance(index, slice) else (chosen,))
        return self._items[index]

    def __iter__(self) -> Iterator[Any]:
        self._seen.update(range(len(self._items)))
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


def packed(record: Record, facts: Facts) -> dict[str, Any]:
    """Returns the digest of a record and its facts, as JSON can say it."""
    ids, times = _looked_at(record, facts)
    tally = TALLIES[facts]
    for id in sorted(ids):
        ids.update(tally.clones.get(id, ()), *([{tally.own[id]}] if id in tally.own else []))
    known = sorted(ids)
    return {
        "format": FORMAT,
        "place": {name: getattr(record, name) for name in _PLACE},
        "run": record.run,
        "events": [[*event] for event in record.events if event[0] != "gc"],
        "lines": len(record.lines),
        "times": [[index, record.times[index]] for index in sorted(times)],
        "tasks": encode_facts(tuple(facts.tasks[id] for id in known))[1] if known else [],
        "results": encode_facts(told)[1] if (told := tuple(facts.results[id] for id in known if facts.results[id])) else [],
        "rows": [[facts.previous[id], facts.issued[id], facts.told[id]] for id in known],
        "count": len(facts.tasks),
        "lost": sorted(facts.lost),
        "seats": [[number, *(getattr(seat, name) for name in _SEAT)] for number, seat in facts.seats.items()],
        "exploits": [len(facts.exploits), facts.exploits[-LAST:]],
        "suggested": facts.suggested,
        "counts": [getattr(facts, name) for name in _COUNTS],
        "speed": [list(entry) for entry in facts.speed],
        "tally": _packed_tally(tally, known),
    }


def _looked_at(record: Record, facts: Facts) -> tuple[set[int], set[int]]:
    """Returns the tasks and the lines that a status needs, and that what comes next begins from."""
    ids: set[int] = set()
    times: set[int] = set()
    probe, seen = copy.copy(facts), copy.copy(record)
    for name in ("tasks", "results", "previous", "issued", "told"):
        setattr(probe, name, _Watched(getattr(facts, name), ids))
    seen.times = _Watched(record.times, times)  # type: ignore[assignment]
    TALLIES[probe] = TALLIES[facts]
    status_of(seen, probe)
    for seat, known in facts.seats.items():
        for id in (known.head, facts.source(known.head), facts.standing(seat)):
            ids.update(() if id is None else (id,))
    return ids | facts.lost, times | ({len(record.times) - 1} if record.times else set())


def _packed_tally(tally: Tally, known: list[int]) -> dict[str, Any]:
    own = {id: tally.own[id] for id in known if id in tally.own}
    clones = {id: tally.clones[id] for id in known if id in tally.clones}
    children = {*own.values(), *(clone for group in clones.values() for clone in group)}
    return {
        "lines": tally.lines,
        "founder": [tally.founder[id] for id in known],
        "held": [*tally.held.items()], "first": [*tally.first.items()], "roots": [*tally.roots.items()],
        "shares": [*tally.shares.items()], "controls": sorted(tally.controls), "lasting": [*tally.lasting],
        "own": [*own.items()], "clones": [*clones.items()], "told": sorted(children & tally.told),
        "sums": [getattr(tally, name) for name in _SUMS],
        "history": [[each.step, each.founders, each.effective] for each in tally.history[-1:]],
    }  # fmt: skip


# -- and what becomes of it -----------------------------------------------------------------------------------------------


def unpacked(data: dict[str, Any], record: Record) -> Record:
    """Returns the record, filled by a digest: with holes, and with facts and a tally that go on from there."""
    for name in _PLACE:
        setattr(record, name, data["place"][name])
    record.run = data["run"]
    record.events = [(type, fields, time) for type, fields, time in data["events"]]
    record.lines = [HOLE] * data["lines"]  # type: ignore[list-item]
    record.times = _sparse(data["lines"], data["times"])
    facts = Facts._known[record] = Facts(record)
    tasks = decode_facts("tasks", data["tasks"]) or ()
    results = {result.task: result for result in decode_facts("results", data["results"]) or ()}
    known, count = [task.id for task in tasks], data["count"]
    facts.lines = data["lines"]
    facts.tasks = _sparse(count, ((task.id, task) for task in tasks))
    facts.results = _sparse(count, ((id, results.get(id)) for id in known))
    for index, name in enumerate(("previous", "issued", "told")):
        setattr(facts, name, _sparse(count, zip(known, (row[index] for row in data["rows"]), strict=True)))
    facts.lost = set(data["lost"])
    for number, *values in data["seats"]:
        seat = facts.seats[number] = Seat()
        for name, value in zip(_SEAT, values, strict=True):
            setattr(seat, name, value)
    whole, newest = data["exploits"]
    facts.exploits = [*[HOLE] * (whole - len(newest)), *newest]  # type: ignore[list-item]
    facts.suggested = data["suggested"]
    for name, value in zip(_COUNTS, data["counts"], strict=True):
        setattr(facts, name, value)
    facts.speed = deque(tuple(entry) for entry in data["speed"])
    TALLIES[facts] = _unpacked_tally(data["tally"], known, count)
    return record


def _unpacked_tally(data: dict[str, Any], known: list[int], count: int) -> Tally:
    tally = Tally()
    tally.lines = data["lines"]
    tally.founder = _sparse(count, zip(known, data["founder"], strict=True))
    tally.held, tally.first, tally.roots = dict(data["held"]), dict(data["first"]), dict(data["roots"])
    tally.shares, tally.controls = Counter(dict(data["shares"])), set(data["controls"])
    tally.lasting.extend(tuple(entry) for entry in data["lasting"])
    tally.own, tally.clones, tally.told = dict(data["own"]), dict(data["clones"]), set(data["told"])
    for name, value in zip(_SUMS, data["sums"], strict=True):
        setattr(tally, name, value)
    tally.history = [Diversity(*each) for each in data["history"]]
    return tally


def _sparse(count: int, items: Iterable[tuple[int, Any]]) -> list[Any]:
    """Returns a list of holes with some items in it."""
    found: list[Any] = [HOLE] * count
    for index, item in items:
        found[index] = item
    return found
