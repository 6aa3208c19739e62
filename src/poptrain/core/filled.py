"""Facts that are made six times as fast: a frozen class sets each of its fields by a call."""

from __future__ import annotations

from poptrain.core.facts import Json, Result, Task


def unfrozen(kind: type[Task] | type[Result]) -> Json:
    """Returns a class with the slots of a frozen one: an object is filled first, and gets its class then."""
    return type(kind.__name__, (), {"__slots__": kind.__slots__})
