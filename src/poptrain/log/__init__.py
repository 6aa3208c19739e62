"""The log of a run: lines encoded, written and read. Only `disk` touches a run directory.

`codec` turns facts into lines and back, `reader` reads a log at any time, `writer` is its only writer, and `memory` is the log
of a run without a directory.
"""

from __future__ import annotations

from poptrain._renamed import moved_name

_MOVED = {  # names that version 0.1 had here
    "LINE": "poptrain.log.reader:LINE",
    "Log": "poptrain.log.writer:Log",
    "MemoryLog": "poptrain.log.memory:MemoryLog",
    "Record": "poptrain.log.reader:Record",
    "SEGMENT": "poptrain.log.reader:SEGMENT",
    "exists": "poptrain.log.finding:exists",
    "read": "poptrain.log.reader:read",
}


def __getattr__(name: str) -> object:
    """Returns a name of version 0.1 from its new module, with a warning."""
    return moved_name(__name__, _MOVED, name)
