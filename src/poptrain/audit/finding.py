"""What a verification finds in the lines of a log."""

from __future__ import annotations

from dataclasses import dataclass

from poptrain.audit.trace import TraceEntry
from poptrain.core import History


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    line: int | None  # the number of the line in the run, from 0; None: it is not about a line
    place: str  # file and line
    task: int | None
    field: str
    got: object  # in the log
    expected: object
    text: str  # one sentence


@dataclass
class Walk:
    """The results of a walk so far."""

    decisions: int = 0  # lines of tasks that were recomputed
    tasks: int = 0
    results: int = 0
    facts: Finding | None = None  # the first impossible fact
    difference: Finding | None = None  # the first decision that the algorithm takes differently
    differing: int = 0  # number of such lines
    history: History | None = None


def finding(entry: TraceEntry, task: int | None, field: str, got: object, expected: object, text: str) -> Finding:
    """Returns what is wrong in a line of the log."""
    return Finding(entry.number, entry.place, task, field, got, expected, text)
