"""Takes the decisions of a long log again in several processes: each one for some lines that follow each other.

``ask`` is a pure function of the history, so every line can be checked without the others. A process is forked, because it then
has the history and the algorithm without reading or sending anything; it sends back five numbers. Where a fork is not known to be
safe, there is one process: outside of Linux, in a program with threads or with JAX, and for an algorithm with any part that is
not listed in `KNOWN`: code of a user, or a model that computes with threads or remembers what it saw of the earlier lines.
"""

from __future__ import annotations

import json
import os
from functools import partial

import numpy as np

from poptrain.audit.decisions import Decisions, Part
from poptrain.core.cpus import cpus
from poptrain.core.forks import Fork, can_fork, forks

MANY = 20_000  # tasks of a log for which a second process is worth it
KNOWN = (
    "poptrain.algorithms.pbt",
    "poptrain.algorithms.random_search",
    "poptrain.algorithms.grid_search",
    "poptrain.algorithms.parts",
    "poptrain.core",
    "poptrain.space",
)
TASK, ASK, LINE = 50, 150, 2  # µs: for each task, for the decision on a line of tasks, and for a line
FIRST = 1.05  # times what another process does: a forked one copies the memory that it touches


def parts_of(decisions: Decisions, processes: int | None = None) -> list[Part] | None:
    """Returns what is found in all parts of the log, in their order; None if a fact is impossible.

    Args:
        decisions: the algorithm, and the log.
        processes: their number; None: one for each CPU if that is worth it and known to be safe, else one.
    """
    if processes is None:
        many = decisions.history.n >= MANY
        processes = cpus() if many and known(decisions.algorithm) and can_fork() else 1
    ends = _ends(decisions, processes)
    ranges = list(zip([0, *ends[:-1]], ends, strict=True))
    parts = []
    with forks([partial(_work, decisions, *each) for each in ranges[1:]]) as children:
        for (begin, end), child in zip(ranges, [None, *children], strict=True):
            parts.append(part := _received(decisions, child) or decisions.part(begin, end))
            if part.impossible:
                return None
    return parts


def known(value: object) -> bool:
    """True for an algorithm with all its parts, if each of them is of `KNOWN`, and for plain values."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return True
    if isinstance(value, (tuple, list)):
        return all(map(known, value))
    if type(value) is dict:
        return all(map(known, value.values()))
    kind = type(value)
    if not any(f"{kind.__module__}.".startswith(f"{name}.") for name in KNOWN):
        return False
    inside = list(vars(value).values()) if hasattr(value, "__dict__") else []
    return all(map(known, [*inside, *(value.values() if isinstance(value, dict) else ())]))


def _ends(decisions: Decisions, count: int) -> list[int]:
    """Returns where each of `count` parts ends, so that all processes take about as long; the last one has the end of the log."""
    history = decisions.history
    sizes = np.bincount(history.column("issued"), minlength=history.lines)
    cost = np.cumsum(np.where(sizes > 0, ASK, 0) + TASK * sizes + LINE)
    total = int(cost[-1]) if len(cost) else 0
    ends: list[int] = np.searchsorted(cost, [total * (FIRST + k) / (FIRST + count - 1) for k in range(count - 1)]).tolist()
    return [*ends, history.lines + 1]


def _work(decisions: Decisions, begin: int, end: int, pipe: int) -> None:
    part = decisions.part(begin, end)
    os.write(pipe, json.dumps([part.impossible, part.decisions, part.differing, part.failed, part.first]).encode())


def _received(decisions: Decisions, child: Fork | None) -> Part | None:
    """Returns what a child found; None if it died, or if what it found is not found again."""
    if child is None:
        return None
    with open(child.pipe, "rb", closefd=False) as pipe:
        text = pipe.read()
    try:
        part = Part(*json.loads(text))
    except ValueError:
        return None
    first = part.first
    if first is not None:  # it is described here, because values of any kind do not go through the pipe
        part.difference = decisions.part(first, first + 1).difference
    return part if (part.difference is None) == (first is None) else None
