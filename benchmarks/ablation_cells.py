"""The vocabulary of the ablations: stored runs by problem and cell, and questions that compare cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.study import Finished

Cells = dict[str, list[Finished]]
Stored = dict[str, Cells]  # by problem
SIZES = (5, 10, 20, 40, 100)


@dataclass(frozen=True)
class Claim:
    """The first of two cells beats the second."""

    text: str
    better: str
    worse: str


@dataclass(frozen=True)
class Question:
    """One question: its cells with labels, and what is claimed."""

    name: str
    title: str
    slides: str  # what the slides say
    rows: tuple[tuple[str, str], ...]  # (label, cell)
    claims: tuple[Claim, ...]
    extra: Callable[[Stored], str] | None = None  # one more sentence


def scores(cells: Cells, name: str) -> list[float]:
    """Returns the reported scores of a cell, by seed; ``first-n`` is random search of n, the first members of that of 100."""
    if name.startswith("first-"):
        return [kept["first"][name.removeprefix("first-")][0] for kept in cells.get("random-100", ())]
    return [kept["reported"] for kept in cells.get(name, ())]
