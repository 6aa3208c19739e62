"""How many CPUs this process may use: by default one worker, or one thread, is started for each of them."""

from __future__ import annotations

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # inside a container: "200000 100000" grants 2 CPUs, "max 100000" sets no limit


def cpus() -> int:
    """Returns the number of CPUs that this process may use, at least 1.

    That is the number of CPUs that the scheduler may place it on (its affinity), or the CPU quota of its container, rounded
    up, if the quota is smaller. It may be fewer than the machine has.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(count, _quota(count)))


def _quota(default: int) -> int:
    try:
        quota, period = map(int, _QUOTA.read_text().split())
    except (OSError, ValueError):  # there is no cgroup v2, or its limit is "max"
        return default
    return -(-quota // period)
