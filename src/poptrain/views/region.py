"""The life of a trust region (BG-PBT, and PB2 with one): how wide it was at each decision, and where it began again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from poptrain.core.brief import in_lines
from poptrain.log.reader import Record
from poptrain.views.generations import begins_of, generations_of
from poptrain.views.index import history_of
from poptrain.views.phases import RegionMoment, moment_of
from poptrain.views.sources import of_run


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
    line = -1
    for id, generation in enumerate(generations_of(history)):
        if history.issued(id) != line and (moment := moment_of(history.task(id), history.begin(id), generation)) is not None:
            line = history.issued(id)
            moments.append(moment)
    return RegionLife(tuple(moments), begins_of(history))
