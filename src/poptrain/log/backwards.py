"""Walks from one task to the first of its ancestors, through a log that its reader has checked before: from its end, and decoding
nothing else.

The log is not even divided into lines. So the ancestry of one of a million tasks is found in a sixth of the time that it takes
to read the log. Whatever is not as usual ends the walk: then the whole log has to be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from poptrain.core import Hparams, Json, Result
from poptrain.core.errors import PoptrainError
from poptrain.log import usual
from poptrain.log.codec import VERSION, decode_facts, msgspec, parsed
from poptrain.log.disk import FS
from poptrain.log.finding import segment_name
from poptrain.log.usual import Decode

REFUSED = (*usual.REFUSED, AttributeError, OSError)
_LOST = b'"t":"lost"'
_END = b'}],"c":"'  # what follows the last fact of a line
_HEAD = re.compile(rb'\{"v":%d,"q":\d+,"e":\d+,"w":"[^"\\]*","t":"(tasks|results)","d":(?=\[)' % VERSION)


class Unusual(Exception):
    """The log has to be read from its beginning."""


@dataclass(slots=True)
class Ancestor:
    """One finished task of an ancestry."""

    id: int
    member: int
    hparams: Hparams
    end: int  # lineage step at which it ended, or would have ended if it failed: `History.end`


def ancestors(directory: Path, segment: int, offset: int, id: int, fs: FS) -> tuple[list[Ancestor], float | None]:
    """Returns the ancestry of a finished task, from its root to itself, and its score with the user's sign; None if it is not ok.

    Args:
        segment, offset: where the part of the log ends that is known to be valid.

    Raises:
        Unusual: the task is not finished, or a line is not as usual.
    """
    if msgspec is None:
        raise Unusual("it needs msgspec")
    try:
        return _walk(_backwards(directory, segment, offset, fs), id)
    except (PoptrainError, *REFUSED) as error:
        raise Unusual(str(error)) from error


def _backwards(directory: Path, segment: int, offset: int, fs: FS) -> Iterator[bytes]:
    """Yields the segments of a log from its end."""
    for number in range(segment, 0, -1):
        data = fs.read(directory / segment_name(number), 0, offset if number == segment else -1)
        if not data.isascii():
            raise ValueError("other characters")
        yield data


def _walk(segments: Iterator[bytes], id: int) -> tuple[list[Ancestor], float | None]:
    results, tasks, values = _decoders()
    found: list[tuple[Ancestor, Json, Json]] = []  # with its task and its result
    score, lost = None, False
    wanted = id
    told: Json = None  # the result of the task that is looked for
    for data in segments:
        end = len(data)
        while True:
            kind = b"tasks" if told is not None else b"results"
            begin, fact = _before(data, end, kind, wanted)
            if not found and told is None:
                lost |= _lost(data, begin, end, id)
            if begin < 0:
                break
            end = begin
            if told is None:
                told = results(fact)
                _check(told.task == wanted)
                if not found and not lost:
                    score = _score(data[begin : data.find(b"\n", begin)], id)
                continue
            task = tasks(fact)
            _check(task.id == wanted)
            same = bool(found) and found[-1][1].hparams == task.hparams
            hparams = found[-1][0].hparams if same else values(task.hparams)
            source = task.parent if task.parent is not None else task.teacher
            found.append((Ancestor(task.id, task.member, hparams, told.step), task, told))
            if source is None:
                return _with_ends(found), score
            wanted, told = source, None
    raise Unusual("the first ancestor was not found")


def _before(data: bytes, end: int, kind: bytes, id: int) -> tuple[int, bytes]:
    """Returns where the last line with the fact of this id begins, before byte `end`, and the text of the fact; -1: none.

    A line in which mappings are inside lists could hold something that looks like a fact, so such lines are divided by a decoder.
    """
    name = b'{"task":' if kind == b"results" else b'{"id":'
    whole = b"%b%d," % (name, id)
    at = end
    while (at := data.rfind(whole, 0, at)) >= 0:
        if data[at - 1] not in b"[,":
            continue
        begin, close = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
        head = _HEAD.match(data, begin, close)
        if head is None or head[1] != kind:
            at = begin
            continue
        if _is_plain(data, head.end(), close):
            last = data.find(b"}," + name, at, close)
            return begin, data[at : (last if last >= 0 else data.rindex(_END, at, close)) + 1]
        facts = msgspec.json.decode(data[head.end() : data.rindex(_END, begin, close) + 2], type=list[msgspec.Raw])
        for fact in map(bytes, facts):
            if fact.startswith(whole):
                return begin, fact
        at = begin
    return -1, b""


def _is_plain(data: bytes, begin: int, close: int) -> bool:
    """True if no mapping is in a list but the facts of a line, from byte `begin` on: nearly always, this is the only list."""
    if data.find(b"[", begin + 1, close) < 0:  # ten times as fast as to count
        return True
    inside = data[begin:close]
    return inside.count(b"[{") == 1 and inside.count(b",{") == inside.count(b"},{")


def _lost(data: bytes, begin: int, end: int, id: int) -> bool:
    """True if a line between two bytes tells that the checkpoint of a task is lost."""
    at = max(begin, 0)
    while (at := data.find(_LOST, at, end)) >= 0:
        line = parsed(data[data.rfind(b"\n", 0, at) + 1 : data.find(b"\n", at)])
        if line["t"] == "lost" and line["d"] == id:
            return True
        at += len(_LOST)
    return False


def _check(holds: bool) -> None:
    if not holds:
        raise ValueError("a fact with two ids")


def _with_ends(found: list[tuple[Ancestor, Json, Json]]) -> list[Ancestor]:
    line, begin = [], 0
    for ancestor, task, result in reversed(found):
        if result.error is not None:
            ancestor.end = begin + (task.steps if task.seconds is None else 0)
        begin = result.step
        line.append(ancestor)
    return line


def _score(text: bytes, id: int) -> float | None:
    """Returns the score of a healthy result."""
    facts = decode_facts("results", parsed(text)["d"]) or ()
    result = next(fact for fact in facts if isinstance(fact, Result) and fact.task == id)
    return float(result.score) if result.healthy else None


def _decoders() -> tuple[Decode, Decode, Decode]:
    """Returns the decoders of a result, of a task, and of hyperparameters: of what a walk needs alone."""

    def facts(kind: str, *fields: tuple[str, Json] | tuple[str, Json, Json]) -> Decode:
        decode: Decode = msgspec.json.Decoder(msgspec.defstruct(kind, fields, gc=False)).decode
        return decode

    number = (int | None, None)
    return (
        facts("results", ("task", int), ("step", int), ("error", str | None, None)),
        facts(
            "tasks",
            ("id", int),
            ("member", int),
            ("hparams", msgspec.Raw),
            ("steps", int),
            ("parent", *number),
            ("teacher", *number),
            ("seconds", float | None, None),
        ),
        msgspec.json.Decoder(dict[str, bool | int | float | str | None]).decode,
    )
