"""Walks from one task to the first of its ancestors, through a log that its reader has checked before: from its end, and decoding
nothing else.

The log is not even divided into lines. So the ancestry of one of a million tasks is found in a tenth of the time that it takes
to read the log. Whatever is not as usual ends the walk: then the whole log has to be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from poptrain.core import Hparams, Json, Result
from poptrain.core.errors import PoptrainError
from poptrain.log import usual
from poptrain.log.codec import VERSION, decode_facts, msgspec, parsed
from poptrain.log.disk import FS
from poptrain.log.reader import segment_name
from poptrain.log.usual import Decode

REFUSED = (*usual.REFUSED, AttributeError, OSError)
_LOST = b'"t":"lost","d":%d,'
_VERSION, _END = b'{"v":%d,' % VERSION, b'}],"c":"'  # how a line begins, and what follows the last of its facts


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
        if not data.isascii() or data.count(b"\n" + _VERSION) + data.startswith(_VERSION) != data.count(b"\n"):
            raise ValueError("another version")
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
            place = _before(data, end, b'{"task":' if told is None else b'{"id":', wanted)
            if not found and told is None:
                lost |= data.find(_LOST % id, max(place, 0), end) >= 0
            if place < 0:
                break
            end = place
            if told is None:
                told = results(_alone(data, place, b'{"task":'))
                if not found and not lost:
                    score = _score(data[data.rfind(b"\n", 0, place) + 1 : data.find(b"\n", place)], id)
                continue
            task = tasks(_alone(data, place, b'{"id":'))
            same = bool(found) and found[-1][1].hparams == task.hparams
            hparams = found[-1][0].hparams if same else values(task.hparams)
            source = task.parent if task.parent is not None else task.teacher
            found.append((Ancestor(task.id, task.member, hparams, told.step), task, told))
            if source is None:
                return _with_ends(found), score
            wanted, told = source, None
    raise Unusual("the first ancestor was not found")


def _before(data: bytes, end: int, begin: bytes, id: int) -> int:
    """Returns where the last fact with this id begins, before byte `end`; -1 if there is none.

    No text inside a fact looks like this, because quotes in texts are escaped, and mappings in facts follow a colon.
    """
    whole = b"%b%d," % (begin, id)
    at = data.rfind(whole, 0, end)
    while at >= 0 and data[at - 1] not in b"[,":
        at = data.rfind(whole, 0, at)
    return at


def _alone(data: bytes, at: int, begin: bytes) -> bytes:
    """Returns the text of the fact that begins at byte `at`."""
    line = data.find(b"\n", at)
    end = data.find(b"}," + begin, at, line)
    return data[at : (end if end >= 0 else data.rindex(_END, at, line)) + 1]


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
