"""Lines of version 1 of the log, which poptrain 0.1.0 wrote, as those of version 2.

===========================  ==========================================================================================
field of version 2           where version 1 had it
===========================  ==========================================================================================
`seconds` of a task          ``tags["seconds"]``, a string
`role` of a task             ``tags["role"]``, or ``tags["control"]`` of a control
`donor` of a task            ``note["from"]``
`forecast` of a task         in `note`, as the fields `gain`, `gain_sd`, `beta`, `rows` and `fallback`
`kind` of a result           ``"damaged"``: its error began with ``CheckpointDamaged``
===========================  ==========================================================================================

What becomes a field is no longer in the tags and the note, as if version 2 had written the line.

Tags and notes belong to the algorithm, so only those that poptrain's own algorithms wrote are read this way. An algorithm of
the user keeps its own; but its tasks that `parts.rounds.segments` timed have `seconds` now, as the same algorithm asks for today.
Nothing here raises an error: what is not exactly as version 1 wrote it stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from poptrain.core import Json

OWN = ("Pbt", "FirePbt", "Independent", "OptunaSearch", "ScheduleReplay")  # the types of poptrain's own algorithms
_FORECAST = ("gain", "gain_sd", "beta", "rows", "fallback")
_ONLY_CATEGORIES = "no numeric hyperparameter"  # a reason for a fallback
_UNBOUNDED = 2**31 - 1  # steps of a task that only its time limit ends


def task_from_1(data: dict[str, Json], algorithm: Json) -> dict[str, Json]:
    """Returns the data of a task as version 2 has it.

    Args:
        algorithm: the description of the algorithm in the first line of the log.
    """
    tags, note = _copied(data, "tags"), _copied(data, "note")
    if not tags and not note:
        return data
    found: dict[str, Json] = {}
    own = isinstance(algorithm, dict) and algorithm.get("type") in OWN
    seconds = _seconds(tags.get("seconds"))
    if seconds is not None and (own or data.get("steps") == _UNBOUNDED or seconds in _intervals(algorithm)):
        found["seconds"] = seconds
        del tags["seconds"]
    if own:
        found |= _fields_of_own(tags, note)
    return {**data, "tags": tags, "note": note, **found} if found else data


def _copied(data: dict[str, Json], name: str) -> dict[str, Json]:
    value = data.get(name)
    return dict(value) if isinstance(value, dict) else {}


def _seconds(text: Json) -> float | None:
    """Returns a positive number of seconds from its text, None for anything else."""
    try:
        seconds = float(text) if isinstance(text, str) else 0.0
    except ValueError:
        return None
    return seconds if isfinite(seconds) and seconds > 0 else None


def _intervals(description: Json) -> Iterator[Json]:
    """Yields the length of every `Seconds` in the description of an algorithm."""
    if isinstance(description, dict):
        if description.get("type") == "Seconds":
            yield description.get("seconds")
        description = list(description.values())
    for each in description if isinstance(description, list) else ():
        yield from _intervals(each)


def _fields_of_own(tags: dict[str, Json], note: dict[str, Json]) -> dict[str, Json]:
    """Takes the fields that poptrain's own algorithms wrote out of the tags and the note, and returns them."""
    found: dict[str, Json] = {}
    if tags.get("role") == "evaluator":
        found["role"] = tags.pop("role")
    elif type(tags.get("control")) is int and tags["control"] == 1:
        found["role"] = "control"
        del tags["control"]
    if type(note.get("from")) is int:
        found["donor"] = note.pop("from")
    if "rows" in note and ("gain" in note or "fallback" in note):
        found["forecast"] = _forecast(note)
    return found


def _forecast(note: dict[str, Json]) -> dict[str, Json]:
    """Takes the fields of a forecast out of a note and returns them."""
    fields = {name: note.pop(name) for name in _FORECAST if name in note}
    if fields.get("fallback") is None:
        source = "model"
    elif fields["fallback"] == _ONLY_CATEGORIES and any(name.startswith("chance ") for name in note):
        source = "bandit"
    else:
        source = "redraw"
    return {"source": source, **fields}


def result_from_1(data: dict[str, Json]) -> dict[str, Json]:
    """Returns the data of a result as version 2 has it."""
    return {**data, "kind": "damaged"} if str(data.get("error") or "").startswith("CheckpointDamaged") else data
