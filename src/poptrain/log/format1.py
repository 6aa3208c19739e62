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
"""

from __future__ import annotations

from poptrain.core import Json

_FORECAST = ("gain", "gain_sd", "beta", "rows", "fallback")
_ONLY_CATEGORIES = "no numeric hyperparameter"  # a reason for a fallback


def task_from_1(data: dict[str, Json]) -> dict[str, Json]:
    """Returns the data of a task as version 2 has it."""
    tags, note = dict(data.get("tags") or {}), dict(data.get("note") or {})
    if not tags and not note:
        return data
    found: dict[str, Json] = {}
    if "seconds" in tags:
        found["seconds"] = float(tags.pop("seconds"))
    if "role" in tags:
        found["role"] = tags.pop("role")
    if tags.pop("control", None):
        found["role"] = "control"
    if isinstance(note.get("from"), int):
        found["donor"] = note.pop("from")
    if "rows" in note and ("gain" in note or "fallback" in note):
        found["forecast"] = _forecast(note)
    return {**data, "tags": tags, "note": note, **found}


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
