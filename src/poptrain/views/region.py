"""The life of a trust region (BG-PBT, and PB2 with one): how wide it was at each decision, and where it began again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from poptrain.core import History
from poptrain.core.brief import in_lines
from poptrain.core.facts import is_number
from poptrain.log.reader import Record
from poptrain.views.generations import generations_of
from poptrain.views.index import history_of
from poptrain.views.sources import of_run

LENGTH = "region length"  # in the notes of suggestions, as `algorithms.gp.trust_region.noted` writes them


@dataclass(frozen=True)
class RegionMoment:
    """The region at one decision."""

    task: int  # the first that was decided in it
    step: int  # at which that task begins
    length: float  # width of the box, in units of each range
    share: float  # of the categories that may differ from the parent's
    successes: int  # in a row
    failures: int  # in a row
    restarts: int  # so far, in this generation
    generation: int  # of architectures, from 0


@dataclass(frozen=True)
class RegionLife:
    """The region at every decision of a run. A run without one has no moments."""

    moments: tuple[RegionMoment, ...]
    generations: tuple[int, ...]  # the steps at which students of new architectures begin

    __repr__ = in_lines

    @property
    def restarts(self) -> list[RegionMoment]:
        """The moments in which a new region was used for the first time, without those of a new generation."""
        pairs = zip(self.moments, self.moments[1:], strict=False)
        return [after for before, after in pairs if after.generation == before.generation and after.restarts > before.restarts]


def has_region(run: Mapping[str, Any]) -> bool:
    """True if the algorithm of a run, as its description names it, searches in a trust region."""
    algorithm = run.get("algorithm")
    within = algorithm.get("within", algorithm) if isinstance(algorithm, Mapping) else None
    explore = within.get("explore") if isinstance(within, Mapping) else None
    return isinstance(explore, Mapping) and isinstance(explore.get("region"), Mapping)


@of_run
def region(record: Record) -> RegionLife:
    """Returns the life of the trust region of a run."""
    history = history_of(record)
    moments: list[RegionMoment] = []
    generations: list[int] = []
    line = -1
    for id, generation in enumerate(generations_of(history)):
        if generation > len(generations):  # its first candidate
            generations.append(history.begin(id))
        if history.issued(id) != line and LENGTH in history.task(id).note:
            line = history.issued(id)
            moments.append(_moment(history, id, generation))
    return RegionLife(tuple(moments), tuple(generations))


def _moment(history: History, id: int, generation: int) -> RegionMoment:
    note = history.task(id).note
    names = (LENGTH, "region share", "region successes", "region failures", "region")
    values = (value if is_number(value := note.get(name)) else 0 for name in names)
    length, share, *counts = values
    successes, failures, restarts = map(int, counts)
    return RegionMoment(id, history.begin(id), float(length), float(share), successes, failures, restarts, generation)
