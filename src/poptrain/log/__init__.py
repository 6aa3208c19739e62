"""The log: lines encoded, written and read. `disk` is the only module that touches a run directory."""
