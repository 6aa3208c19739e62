"""Do the threads of the members stand in each other's way?

Threads of a numeric library wait for each other after every small operation. If another process uses one of the cores, all of
them wait for the slowest one, and a small model trains several times slower than it does with one thread.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from threadpoolctl import threadpool_info, threadpool_limits

from poptrain.audit.verdict import Verdict
from poptrain.core.counting import counted
from poptrain.core.cpus import cpus
from poptrain.executors import kind_of
from poptrain.executors.processes import Processes, environment
from poptrain.preflight.lab import Probe

FASTER = 1.5  # times as fast with one thread: less is not worth a sentence
PAIRS = 3  # of probes: with all threads, and with one
SHORTEST = 0.02  # seconds of a probe that says something about training
VARIABLE = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class Workers:
    """The workers of an executor on this machine."""

    count: int
    threads: int  # of each
    processes: Processes | None  # None: members train in this process

    @property
    def inherited(self) -> bool:
        """True if the threads are those of the environment of this process."""
        return self.processes is None or (self.processes.threads is None and VARIABLE in os.environ)


def workers(executor: object, seats: int) -> Workers | None:
    """Returns the workers that an executor starts for this number of members; None if they are not on this machine."""
    kind = kind_of(executor)
    if kind == "inline":
        return Workers(1, max((pool["num_threads"] for pool in threadpool_info()), default=1), None)
    if kind != "processes":
        return None
    config = executor if isinstance(executor, Processes) else Processes()
    count = max(1, min(config.slots or cpus(), seats))
    text = environment(replace(config, gpus_per_slot=0), 0, count).get(VARIABLE) or os.environ.get(VARIABLE, "")
    first = text.split(",")[0]  # a list has the threads of each nesting level
    return Workers(count, int(first) if first.isdigit() and int(first) else cpus(), config)


def crowded(found: Workers) -> Verdict | None:
    """Returns what to set if the threads of all workers are more than the CPUs; None if they are not."""
    total, available = found.count * found.threads, cpus()
    if found.threads == 1 or total <= available:  # more workers than CPUs may be a choice: they wait for a GPU or a simulator
        return None
    each = max(1, available // found.count)
    fix = f"set {VARIABLE}={each}" if found.inherited else f"pass threads={each} to Processes"
    one = found.count == 1
    who = "one worker has" if one else f"{counted(found.count, 'worker')} have"
    text = (
        f"{who} {counted(found.threads, 'thread')}{'' if one else ' each'}, more than the {available} CPUs that this "
        f"process may use: {fix}"
    )
    return Verdict("threads", "unclear", text)


def slowed(found: Workers, train: Callable[[], Probe]) -> Verdict | None:
    """Returns what to set if a member trains much faster with one thread; None if it does not, or if one is all that it has.

    Args:
        train: trains the same member for some more steps, in this process.
    """
    if found.threads == 1:
        return None
    every = one = math.inf
    for _ in range(PAIRS):
        probe = train()
        with threadpool_limits(1):
            alone = train()
        every, one = min(every, probe.seconds), min(one, alone.seconds)
        if not (probe.ok and alone.ok) or every < SHORTEST or every < FASTER * one:
            return None
    fix = f"set {VARIABLE}=1 before Python starts" if found.processes is None else "pass threads=1 to Processes"
    text = f"a member trains {every / one:.1f} times as fast with one thread as with {found.threads}"
    return Verdict("threads", "unclear", f"{text} ({one:.2g} s instead of {every:.2g} s): {fix}")
