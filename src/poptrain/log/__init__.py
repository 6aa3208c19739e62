"""The log of a run: lines encoded, written and read. Only `disk` touches a run directory.

`codec` turns facts into lines and back, `reader` reads a log at any time, `writer` is its only writer, and `memory` is the log
of a run without a directory.
"""
