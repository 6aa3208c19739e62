"""The digest: a copy of the state of a run next to a long log, so that `status` decodes only the newest lines.

    RUN/digest.json      one line, written by the run itself (`sinks.digest`), about every second and at its end

The digest is derived, and the log always wins. Its checksum starts from the CRC-32 of all bytes of the log that it stands for,
so it is used only if every one of these bytes, and every byte of its own, is as it was. The lines after them are read and
checked as always. Otherwise, or if a newer line refers to a task that the digest left out, the whole log is read.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any
from zlib import crc32

from poptrain.core import Task
from poptrain.core.errors import PoptrainError
from poptrain.log.codec import decode_facts, decode_line, encode_facts, encode_line
from poptrain.log.disk import FS, default
from poptrain.log.finding import segment_name
from poptrain.log.reader import Record, read
from poptrain.views.exploits import Exploit
from poptrain.views.phases import RegionMoment, Rung
from poptrain.views.state import RECENT_WAITS, Incomplete, KnownTasks, RunState, SeatState
from poptrain.views.status import Status, status_of
from poptrain.views.tally import Diversity, Known, Tally

NAME = "digest.json"
DIGEST_FORMAT = 10
LONGEST = 1 << 27  # bytes that are read: what is longer was not written by a run
CHUNK = 1 << 19  # bytes that are read at a time: pieces that stay in the processor's cache are twice as fast
Packed = dict[str, Any]  # JSON
_PLACE = [name for name, value in vars(Record()).items() if isinstance(value, (int, float, str))]  # how far it was read


class Following:
    """The status of a run directory, now and again."""

    def __init__(self, directory: Path | str, fs: FS = default):
        self.directory, self.fs = directory, fs
        found = digested(directory, fs)
        if found is None:
            record = read(directory, fs)
            found = record, RunState.begin(record)
        self.record, self.state = found

    def look(self) -> Status:
        """Returns the status as the log is now.

        Raises:
            UsageError: there is no run.
            LogDamaged: a line in the middle is bad.
        """
        try:
            self.record.refresh()
            return status_of(self.record, self.state.read_on(self.record))
        except Incomplete:
            self.record = read(self.directory, self.fs)
            self.state = RunState.begin(self.record)
            return status_of(self.record, self.state.read_on(self.record))


def digested(directory: Path | str, fs: FS = default) -> tuple[Record, RunState] | None:
    """Returns what the digest of a run holds: a record without its first lines, and the state after them.

    None if there is no digest, or it does not belong to the log as it is.
    """
    path = Path(directory).resolve()
    try:
        text = fs.read(path / NAME, 0, LONGEST).rstrip(b"\n")
        place = json.loads(text)["d"]["place"]
        data = decode_line(text, prefix_crc(path, place["segment"], place["offset"], fs)).data
        if data["format"] != DIGEST_FORMAT:
            return None
        record = Record(path, fs)
        vars(record).update(place)
        record.order = None  # it does not know the tasks before; a line that refers to one makes `look` read the whole log
        record.run, record.events = data["run"], [(type, about, time) for type, about, time in data["events"]]
        return record, unpacked(data["state"])
    except (OSError, PoptrainError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None


def encoded(record: Record, state: RunState, prefix: int) -> bytes:
    """Returns the digest as a line of text.

    Args:
        record: read up to a line of the log.
        state: after the same line.
        prefix: CRC-32 of the bytes of the log up to there.
    """
    data = {
        "format": DIGEST_FORMAT,
        "place": {name: getattr(record, name) for name in _PLACE},
        "run": record.run,
        "events": [[*event] for event in record.events if event[0] != "gc"],
        "state": packed(state),
    }
    return encode_line("digest", data, seq=record.seq, epoch=record.epoch, wall="", crc=prefix)[0]


def prefix_crc(directory: Path, segment: int, offset: int, fs: FS) -> int:
    """Returns the CRC-32 of the log up to a byte of a segment."""
    crc = 0
    for number in range(1, segment + 1):
        path = directory / segment_name(number)
        end = offset if number == segment else fs.size(path)
        for at in range(0, end, CHUNK):
            crc = crc32(fs.read(path, at, min(CHUNK, end - at)), crc)
    return crc


# -- the state as JSON ----------------------------------------------------------------------------------------------------


def packed(state: RunState) -> Packed:
    """Returns a state as JSON, with those tasks only that `status` shows or that the next lines can refer to."""
    tally = state.tally
    kept = _kept(state)
    above = _nearest(state.known, kept)
    own = {id: child for id, child in tally.own.items() if id in kept and child in kept}
    clones = {id: here for id, ids in tally.clones.items() if id in kept and (here := [each for each in ids if each in kept])}
    children = {*own.values(), *(each for ids in clones.values() for each in ids)}
    plain = {field.name: getattr(state, field.name) for field in fields(state) if field.name not in _APART}
    return plain | {
        "seats": [[number, *astuple(seat)] for number, seat in state.seats.items()],
        "known": [[id, _fields(state.known[id]) | {"source": above[id]}] for id in sorted(kept)],
        "last_exploits": [_fields(exploit) for exploit in state.last_exploits],
        "rung": None if state.rung is None else astuple(state.rung),
        "region": None if state.region is None else astuple(state.region),
        "suggested": encode_facts(state.suggested)[1] if state.suggested else [],
        "tally": {
            **{name: [*getattr(tally, name).items()] for name in _MAPPINGS},
            **{name: getattr(tally, name) for name in _SUMS},
            "own": [*own.items()],
            "clones": [*clones.items()],
            "controls": sorted(tally.controls),
            "lasting": [*tally.lasting],
            "expected": [*tally.expected.items()],
            "foretold": [*tally.foretold],
            "reported": sorted(children & tally.reported),
            "history": [list(astuple(each)) for each in tally.history[-1:]],
        },
    }


def unpacked(data: Packed) -> RunState:
    """Returns the state that was packed."""
    sums = data["tally"]
    same: Packed = {name: sums[name] for name in _SUMS}
    same |= {name: dict(sums[name]) for name in ("held", "first", "roots", "own", "clones", "expected")}
    tally = Tally(
        **same,
        shares=Counter(dict(sums["shares"])),
        controls=set(sums["controls"]),
        reported=set(sums["reported"]),
        history=[Diversity(*each) for each in sums["history"]],
    )
    tally.lasting.extend(tuple(each) for each in sums["lasting"])
    tally.foretold.extend(tuple(each) for each in sums["foretold"])
    state = RunState(**{name: value for name, value in data.items() if name not in _APART}, tally=tally)
    state.skipped = state.lines
    state.rung = None if data["rung"] is None else Rung(*data["rung"])
    state.region = None if data["region"] is None else RegionMoment(*data["region"])
    state.seats = {number: SeatState(*seat) for number, *seat in data["seats"]}
    state.known = KnownTasks({id: Known(**task | {"team": tuple(task["team"])}) for id, task in data["known"]})
    state.last_exploits.extend(Exploit(**exploit) for exploit in data["last_exploits"])
    state.suggested = tuple(task for task in decode_facts("tasks", data["suggested"]) or () if isinstance(task, Task))
    state.lost = [tuple(each) for each in data["lost"]]
    state.speed = deque(tuple(each) for each in data["speed"])
    state.waits = deque(data["waits"], RECENT_WAITS)
    state.durations = deque(data["durations"], RECENT_WAITS)
    return state


_APART = ("seats", "known", "last_exploits", "rung", "region", "suggested", "tally", "skipped")
_MAPPINGS = ("held", "first", "roots", "shares")
_SUMS = ("squares", "furthest", "selection", "decisions", "replaced", "pairs", "better", "worse")
_SUMS += ("back", "anew", "followed", "unfollowed", "unfollowed_why")


def _fields(value: Known | Exploit) -> Packed:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _kept(state: RunState) -> set[int]:
    """Returns the tasks that a digest holds."""
    known, tally = state.known, state.tally
    kept = {id for seat in state.seats.values() for id in (seat.head, seat.holds, seat.newest_ok, known[seat.head].source)}
    kept |= {id for task in state.suggested for id in (task.id, task.parent)} | {state.best}
    ids = {id for id in kept if id is not None}
    for id in sorted(ids):
        ids.update(tally.clones.get(id, ()), *([{tally.own[id]}] if id in tally.own else []))
    return ids | _branchings(known, state.held().values())


def _branchings(known: Mapping[int, Known], ids: Iterable[int]) -> set[int]:
    """Returns the ancestors in which the lineages of `ids` meet: all that the newest common ancestor depends on."""
    ids = set(ids)
    seen, found = set(ids), set()
    for id in ids:
        while (source := known[id].source) is not None:
            if source in seen:
                found.add(source)
                break
            seen.add(source)
            id = source
    return found


def _nearest(known: Mapping[int, Known], kept: set[int]) -> dict[int, int | None]:
    """Returns, for each task of `kept`, its nearest ancestor that is kept as well."""
    found = {}
    for id in kept:
        source = known[id].source
        while source is not None and source not in kept:
            source = known[source].source
        found[id] = source
    return found
