"""Checkpoints: carries are stored once, read back exactly or not at all, and collected when nothing needs them.

`carry` turns carries into bytes. `store` keeps checkpoints in a run directory, `url` at a URL (with the files of `url_files`),
and `memory` in memory. `places` finds the store that belongs to a run. All fulfil `poptrain.core.protocols.Store`.
"""

from __future__ import annotations

from poptrain._renamed import moved_name

_MOVED = {  # names that version 0.1 had here
    "FORMAT": "poptrain.checkpoints.manifest:MANIFEST_FORMAT",
    "Ref": "poptrain.checkpoints.refs:Ref",
    "Store": "poptrain.checkpoints.store:DiskStore",
    "stem": "poptrain.checkpoints.refs:stem",
}


def __getattr__(name: str) -> object:
    """Returns a name of version 0.1 from its new module, with a warning."""
    return moved_name(__name__, _MOVED, name)
