"""How many cores there are to work with: those that this process may use, not those of the machine."""

from __future__ import annotations

import os


def cores() -> int:
    """Returns the number of usable cores, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
