"""The lines of the log as text: facts and administration to JSON and back, pure functions.

    {"v":2,"q":412,"e":3,"w":"2026-11-21T09:30:57.123Z","t":"results","d":[{"task":40,"score":0.93,…}],"c":"5f1e77a0"}

``v`` major version, ``q`` number of the line in the run from 0, ``e`` epoch (how often the run was opened), ``w`` wall
time for display, ``t`` type, ``d`` data, ``c`` CRC-32 of the line without ``,"c":"…"``, begun from the CRC of the line
before: a changed, dropped, swapped or merged line is found at once. Facts (`tasks`, `results`, `lost`) keep the field
names of `Task` and `Result`; fields at their default are left out, and so is a curve of one point, the score itself.
Version 1 had no `seconds`, `role`, `donor`, `forecast` and `kind`: they stood in tags, notes and error texts, and are read
from there. All is strict ASCII JSON with floats in their shortest exact form; ``{"$f": "nan"}`` stands for what JSON cannot say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields as fields_of
from math import isfinite
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from poptrain.core import Forecast, Line, Lost, Result, Task
from poptrain.core.errors import UsageError

VERSION = 2


class Entry(NamedTuple):
    """One line, decoded."""

    type: str
    data: Any
    seq: int
    epoch: int
    wall: str
    crc: int  # of this line: where the next one starts
    version: int = VERSION


def encode_line(type: str, data: Any, *, seq: int, epoch: int, wall: str, crc: int) -> tuple[bytes, int]:
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
    """Returns what a line (without its newline) says.

    Raises:
        ValueError: it is no line, or does not follow a line whose checksum is `crc`.
        UsageError: it was written by a newer poptrain.
    """
    crc = checked(line, crc)
    entry, _ = (_DECODE_TAGGED if b'"$f"' in line else _DECODE)(line.decode("ascii"))
    if entry["v"] > VERSION:
        raise UsageError(f"the log was written by a newer poptrain (format {entry['v']}, not {VERSION}): upgrade.")
    return Entry(entry["t"], entry["d"], entry["q"], entry["e"], entry["w"], crc, entry["v"])


def checked(line: bytes, crc: int) -> int:
    """Returns the CRC of a line that follows one whose checksum is `crc`.

    Raises:
        ValueError: the line does not end in that CRC.
    """
    if line[-16:-10] != b',"c":"' or line[-2:] != b'"}':
        raise ValueError("incomplete line")
    crc = crc32(b"}", crc32(line[:-16], crc))
    if line[-10:-2] != b"%08x" % crc:
        raise ValueError("checksum mismatch")
    return crc


def encode_facts(line: Line) -> tuple[str, Any]:
    """Returns the type and the data of a line of facts."""
    if isinstance(line[0], Lost):
        return "lost", line[0].task
    if isinstance(line[0], Task):
        return "tasks", [_of_task(task) for task in line]
    return "results", [_of_result(result) for result in line]


def decode_facts(type: str, data: Any, version: int = VERSION) -> Line | None:
    """Returns the facts of a line of some version of the format, or None if it is administration."""
    if type == "results":
        return tuple([_result(**(each if version > 1 else _result_1(each))) for each in data])
    if type == "tasks":
        return tuple([_task(**(each if version > 1 else _task_1(each))) for each in data])
    return (Lost(data),) if type == "lost" else None


# What may be left out, and what it then is. (Not read from the dataclasses: the format must not change when they do.)
_TASK = {"parent": None, "evals": 1, "teacher": None, "progress": None, "tags": {}, "note": {},
         "seconds": None, "role": "", "donor": None, "forecast": None}  # fmt: skip
_RESULT = {"returns": (), "metrics": {}, "checkpoint": None, "error": None, "seconds": 0.0, "saving": 0.0, "kind": ...}
_FORECAST = {"gain": None, "gain_sd": None, "beta": None, "rows": None, "fallback": None}
_FIELDS = {kind: tuple(field.name for field in fields_of(kind)) for kind in (Task, Result, Forecast)}


def _lean(fact: Task | Result | Forecast, defaults: Mapping[str, Any]) -> dict[str, Any]:
    data = {}
    for name in _FIELDS[type(fact)]:
        value, default = getattr(fact, name), defaults.get(name, ...)
        if type(value) is not type(default) or value != default:
            data[name] = value
    return data


def _of_task(task: Task) -> dict[str, Any]:
    data = _lean(task, _TASK)
    if task.forecast is not None:
        data["forecast"] = _lean(task.forecast, _FORECAST)
    return data


def _of_result(result: Result) -> dict[str, Any]:
    data = _lean(result, _RESULT)
    if result.kind not in ("damaged", "ended"):
        del data["kind"]  # the error and the score say it
    if len(result.curve) == 1 and repr(tuple(result.curve[0])) == repr((result.step, result.score)):
        del data["curve"]  # compared as text: NaN equals itself, and -0.0 is not 0.0
    return data


# The readers take and drop fields that they do not know: a newer poptrain of the same major version may add some.


def _task(
    id, member, hparams, steps, seed, parent=None, evals=1, teacher=None, progress=None, tags=None, note=None,
    seconds=None, role="", donor=None, forecast=None, **_,
) -> Task:  # fmt: skip
    progress = None if progress is None else tuple(progress)
    forecast = None if forecast is None else _forecast(**forecast)
    tags, note = tags or {}, note or {}
    return Task(id, member, hparams, parent, steps, seed, evals, teacher, progress, tags, note, seconds, role, donor, forecast)


def _forecast(source, gain=None, gain_sd=None, beta=None, rows=None, fallback=None, **_) -> Forecast:
    return Forecast(source, gain, gain_sd, beta, rows, fallback)


def _result(
    task, score, step, curve=None, returns=(), metrics=None, checkpoint=None, error=None, seconds=0.0, saving=0.0, kind="ok", **_
) -> Result:
    curve = ((step, score),) if curve is None else tuple([tuple(point) for point in curve])
    return Result(task, score, step, curve, tuple(returns), metrics or {}, checkpoint, error, seconds, saving, kind)


def _task_1(data: dict[str, Any]) -> dict[str, Any]:
    """Returns a task of version 1 as one of version 2: what was said in tags and notes becomes fields."""
    tags, note = dict(data.get("tags") or {}), dict(data.get("note") or {})
    if not tags and not note:
        return data
    found: dict[str, Any] = {}
    if "seconds" in tags:
        found["seconds"] = float(tags.pop("seconds"))
    if "role" in tags:
        found["role"] = tags.pop("role")
    if tags.pop("control", None):
        found["role"] = "control"
    if isinstance(note.get("from"), int):
        found["donor"] = note.pop("from")
    if "gain" in note or "fallback" in note:
        said = {name: note.pop(name) for name in _FORECAST if name in note}
        drawn = any(name.startswith("chance ") for name in note)
        bandit = said.get("fallback") == "no numeric hyperparameter" and drawn
        source = "bandit" if bandit else "redraw" if said.get("fallback") is not None else "model"
        found["forecast"] = {"source": source, **said}
    return {**data, "tags": tags, "note": note, **found}


def _result_1(data: dict[str, Any]) -> dict[str, Any]:
    """Returns a result of version 1 as one of version 2: only the text of the error said that a checkpoint was damaged."""
    return {**data, "kind": "damaged"} if str(data.get("error") or "").startswith("CheckpointDamaged") else data


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"the log cannot hold {type(value).__qualname__} {value!r}: use a number, string, list or dict")


def _tagged(value: Any) -> Any:
    if not isinstance(value, (str, int, float, dict, list, tuple, type(None))):
        value = _plain(value)
    if isinstance(value, float):
        return float(value) if isfinite(value) else {"$f": repr(float(value))}
    if isinstance(value, dict):
        tagged = {key: _tagged(item) for key, item in value.items()}
        return {"$f": list(tagged.items())} if "$f" in tagged else tagged
    return [_tagged(item) for item in value] if isinstance(value, (list, tuple)) else value


def _untagged(value: dict[str, Any]) -> Any:
    tag = value.get("$f")
    return value if tag is None else dict(tag) if isinstance(tag, list) else float(tag)


# Made once: to make one takes as long as to use it.
_ENCODE = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_plain).encode
_DECODE, _DECODE_TAGGED = json.JSONDecoder().raw_decode, json.JSONDecoder(object_hook=_untagged).raw_decode
