"""The lines of the log as text: facts and administration to JSON and back, as pure functions.

    {"v":2,"q":412,"e":3,"w":"2026-11-21T09:30:57.123Z","t":"results","d":[{"task":40,"score":0.93,…}],"c":"5f1e77a0"}

=====  ===============================================================================================================
``v``  version of the format: 2
``q``  number of the line in the run, from 0
``e``  epoch: how often the run has been opened for writing
``w``  wall time, for display
``t``  type: `tasks`, `results`, `lost`, or one of administration (`run`, `open`, `suspend`, `recovered`, `budget`, `end` …)
``d``  data: a list of tasks or results, the id of the task whose checkpoint was lost, or the fields of administration
``c``  CRC-32 of the line without ``,"c":"…"``, started from the CRC of the line before it
=====  ===============================================================================================================

The first line has the type `run` and describes the run. Because each checksum continues the one before, a line that was
changed, dropped, swapped or merged is always found.

**Facts** have the field names of the dataclasses:

* a task has `id`, `member`, `hparams`, `steps` and `seed`, and where they differ from the default `parent`, `evals`, `teacher`,
  `progress`, `tags`, `note`, `seconds`, `role`, `donor` and `forecast`;
* a forecast has `source`, and where it is known `gain`, `gain_sd`, `beta`, `rows` and `fallback`;
* a result has `task`, `score` and `step`, and where they differ from the default `curve`, `returns`, `metrics`, `checkpoint`,
  `error`, `seconds`, `saving` and `kind`. The default of `curve` is the one point (`step`, `score`); that of `kind` is
  `failed` with an error, `diverged` with a score that is not finite, and `ok` otherwise.

Everything is strict ASCII JSON with floats in their shortest exact form. ``{"$f": "nan"}`` stands for a number that JSON does
not have, and ``{"$f": [[key, value], …]}`` for an object that has the key ``$f`` itself.

**Versions.** Readers ignore fields and keep types that they do not know, so a version may add some. A line of a newer version
is refused. Version 1 had no `seconds`, `role`, `donor`, `forecast` and `kind`; `format1` finds them where they were. Lines of
both versions can follow each other in one log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields as fields_of
from math import isfinite
from typing import Any, NamedTuple, cast
from zlib import crc32

import numpy as np

from poptrain.core import Forecast, Hparams, Json, Kind, Line, Lost, Result, Role, Task, Value, results_of, tasks_of
from poptrain.core.errors import UsageError
from poptrain.core.filled import unfrozen
from poptrain.log import format1

msgspec: Any = None
with suppress(ImportError):  # an optional accelerator: three times as fast as Python's decoder, and returns the same values
    import msgspec

VERSION = 2


class Entry(NamedTuple):
    """One line, decoded."""

    type: str
    data: Json
    seq: int
    epoch: int
    wall: str
    crc: int  # of this line: the next one starts from it
    version: int = VERSION


def encode_line(type: str, data: Json, *, seq: int, epoch: int, wall: str, crc: int) -> tuple[bytes, int]:
    """Returns a line, with its newline, and its CRC; `crc` is that of the line before, 0 for the first."""
    entry = {"v": VERSION, "q": seq, "e": epoch, "w": wall, "t": type, "d": data}
    try:
        text = _ENCODE(entry)
    except ValueError:  # a non-finite float
        text = ""
    if not text or '"$f"' in text:
        text = _ENCODE(_tagged(entry))
    body = text.encode()
    crc = crc32(body, crc)
    return b'%s,"c":"%08x"}\n' % (body[:-1], crc), crc


def decode_line(line: bytes, crc: int) -> Entry:
    """Returns the content of a line (without its newline) that follows a line with the checksum `crc`.

    Raises:
        ValueError: the line is incomplete, or its checksum does not fit.
        UsageError: it was written by a newer poptrain.
    """
    crc = checked(line, crc)
    entry = parsed(line)
    version = entry["v"]
    if version > VERSION:
        raise UsageError(f"the log was written by a newer poptrain (format {version}, not {VERSION}): upgrade.")
    return Entry(entry["t"], entry["d"], entry["q"], entry["e"], entry["w"], crc, version)


def checked(line: bytes, crc: int) -> int:
    """Returns the CRC of a line that follows a line with the checksum `crc`.

    Raises:
        ValueError: the line does not end in its CRC.
    """
    crc = crc32(b"}", crc32(line[:-16], crc))
    if not line.endswith(b',"c":"%08x"}' % crc):
        whole = line[-16:-10] == b',"c":"' and line.endswith(b'"}')
        raise ValueError("checksum mismatch" if whole else "incomplete line")
    return crc


def encode_facts(line: Line) -> tuple[str, Json]:
    """Returns the type and the data of a line of facts."""
    if isinstance(line[0], Lost):
        return "lost", line[0].task
    if isinstance(line[0], Task):
        return "tasks", [_of_task(task) for task in tasks_of(line)]
    return "results", [_of_result(result) for result in results_of(line)]


def decode_facts(type: str, data: Json, version: int = VERSION, algorithm: Json = None) -> Line | None:
    """Returns the facts of a line of any version of the format, or None if it is administration.

    Args:
        algorithm: its description in the first line of the log, which says what the tags of version 1 mean.
    """
    if type == "results":
        return tuple([make_result(**(each if version > 1 else format1.result_from_1(each))) for each in data])
    if type == "tasks":
        return tuple([make_task(**(each if version > 1 else format1.task_from_1(each, algorithm))) for each in data])
    return (Lost(data),) if type == "lost" else None


# The values of fields that are left out. (Not read from the dataclasses: the format must not change when they do.)
_TASK: Mapping[str, object] = {
    "parent": None,
    "evals": 1,
    "teacher": None,
    "progress": None,
    "tags": {},
    "note": {},
    "seconds": None,
    "role": "",
    "donor": None,
    "forecast": None,
}
_RESULT: Mapping[str, object] = {
    "returns": (),
    "metrics": {},
    "checkpoint": None,
    "error": None,
    "seconds": 0.0,
    "saving": 0.0,
}
_FORECAST: Mapping[str, object] = dict.fromkeys(("gain", "gain_sd", "beta", "rows", "fallback"))
_FIELDS = {kind: tuple(field.name for field in fields_of(kind)) for kind in (Task, Result, Forecast)}


def _lean(fact: Task | Result | Forecast, defaults: Mapping[str, object]) -> dict[str, Json]:
    data = {}
    for name in _FIELDS[type(fact)]:
        value, default = getattr(fact, name), defaults.get(name, ...)
        if type(value) is not type(default) or value != default:
            data[name] = value
    return data


def _of_task(task: Task) -> dict[str, Json]:
    data = _lean(task, _TASK)
    if task.forecast is not None:
        data["forecast"] = _lean(task.forecast, _FORECAST)
    return data


def _of_result(result: Result) -> dict[str, Json]:
    data = _lean(result, _RESULT)
    if result.kind == _implied_kind(result.score, result.error):
        del data["kind"]
    if len(result.curve) == 1 and repr(tuple(result.curve[0])) == repr((result.step, result.score)):
        del data["curve"]  # compared as text: NaN equals itself, and -0.0 is not 0.0
    return data


def _implied_kind(score: float, error: str | None) -> Kind:
    return "failed" if error is not None else "ok" if isfinite(score) else "diverged"


# The readers accept and ignore fields that they do not know.

NOTHING: dict[str, Json] = {}  # shared by all facts, which never change: a million empty dicts are 64 MB
OpenTask, OpenResult = unfrozen(Task), unfrozen(Result)


def make_task(
    id: int,
    member: int,
    hparams: Hparams,
    steps: int,
    seed: int,
    parent: int | None = None,
    evals: int = 1,
    teacher: int | None = None,
    progress: Sequence[float] | None = None,
    tags: Mapping[str, int | str] | None = None,
    note: Mapping[str, Value] | None = None,
    seconds: float | None = None,
    role: Role = "",
    donor: int | None = None,
    forecast: Mapping[str, Json] | None = None,
    **_: object,
) -> Task:
    span = None if progress is None else (progress[0], progress[1])
    expected = None if forecast is None else _forecast(**forecast)
    made = OpenTask()
    made.id, made.member, made.hparams, made.parent, made.steps, made.seed = id, member, hparams, parent, steps, seed
    made.evals, made.teacher, made.progress, made.tags, made.note = evals, teacher, span, tags or NOTHING, note or NOTHING
    made.seconds, made.role, made.donor, made.forecast = seconds, role, donor, expected
    made.__class__ = Task
    return cast(Task, made)


def _forecast(
    source: Json, gain: Json = None, gain_sd: Json = None, beta: Json = None, rows: Json = None, **other: Json
) -> Forecast:
    return Forecast(source, gain, gain_sd, beta, rows, other.get("fallback"))


def make_result(
    task: int,
    score: float,
    step: int,
    curve: Sequence[Sequence[float]] | None = None,
    returns: Sequence[float] = (),
    metrics: Mapping[str, float] | None = None,
    checkpoint: str | None = None,
    error: str | None = None,
    seconds: float = 0.0,
    saving: float = 0.0,
    kind: Kind = "ok",
    **_: object,
) -> Result:
    made = OpenResult()
    made.task, made.score, made.step, made.returns = task, score, step, tuple(returns)
    if curve is not None:  # else its slot stays empty, and it is the one point
        made.curve = tuple([tuple(point) for point in curve])
    made.metrics, made.checkpoint, made.error = metrics or NOTHING, checkpoint, error
    made.seconds, made.saving, made.kind = seconds, saving, _implied_kind(score, error) if kind == "ok" else kind
    made.__class__ = Result
    return cast(Result, made)


def _plain(value: object) -> Json:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"the log cannot hold {type(value).__qualname__} {value!r}: use a number, string, list or dict")


def _tagged(value: Json) -> Json:
    if not isinstance(value, (str, int, float, dict, list, tuple, type(None))):
        value = _plain(value)
    if isinstance(value, float):
        return float(value) if isfinite(value) else {"$f": repr(float(value))}
    if isinstance(value, dict):
        tagged = {key: _tagged(item) for key, item in value.items()}
        return {"$f": list(tagged.items())} if "$f" in tagged else tagged
    return [_tagged(item) for item in value] if isinstance(value, (list, tuple)) else value


def _untagged(value: dict[str, Json]) -> Json:
    tag = value.get("$f")
    return value if tag is None else dict(tag) if isinstance(tag, list) else float(tag)


def parsed(line: bytes) -> dict[str, Json]:
    """Returns the object that a line of ASCII JSON holds; its checksum is not looked at."""
    if b'"$f"' in line:
        tagged: dict[str, Json] = _DECODE_TAGGED(line.decode("ascii"))[0]
        return tagged
    if _DECODE_FAST is not None and line.isascii():
        try:
            fast: dict[str, Json] = _DECODE_FAST(line)
            return fast
        except (ValueError, RecursionError):  # it refuses some numbers and texts that JSON allows
            pass
    plain: dict[str, Json] = _DECODE(line.decode("ascii"))[0]
    return plain


# Made once: making one takes as long as using it.
_ENCODE = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_plain).encode
_DECODE, _DECODE_TAGGED = json.JSONDecoder().raw_decode, json.JSONDecoder(object_hook=_untagged).raw_decode
_DECODE_FAST = None if msgspec is None else msgspec.json.Decoder().decode
