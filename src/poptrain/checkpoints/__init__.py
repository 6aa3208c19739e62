"""Checkpoints: carries are stored once, read back exactly or not at all, and collected when nothing needs them.

`carry` turns carries into bytes. `store` keeps checkpoints in a run directory, `url` at a URL (with the files of `url_files`),
and `memory` in memory. `places` finds the store that belongs to a run. All fulfil `poptrain.core.protocols.Store`.
"""
