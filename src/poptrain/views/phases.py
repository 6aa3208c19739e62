"""Where a run of BG-PBT is: how wide its trust region is, and how far the candidates of the next generation are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from poptrain.core import Task
from poptrain.core.brief import in_lines
from poptrain.core.counting import counted
from poptrain.core.facts import is_number
from poptrain.views.format import short

LENGTH = "region length"  # in the notes of suggestions, as `algorithms.gp.trust_region.noted` writes them
MOST = 1e15  # greater numbers are not those of a region


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

    __repr__ = in_lines


@dataclass(frozen=True)
class Rung:
    """One step of the successive halving of candidates, from which the next generation of architectures is chosen."""

    number: int  # from 1
    candidates: int
    reported: int  # of them
    begin: float  # of these steps, as a share of the distillation
    end: float

    __repr__ = in_lines


def moment_of(task: Task, step: int, generation: int) -> RegionMoment | None:
    """Returns the region in which a task was decided; None if its note states none.

    Args:
        task: its note has the user's values, which may be of any kind.
        step: at which the task begins.
        generation: of architectures.
    """
    if LENGTH not in task.note:
        return None
    names = (LENGTH, "region share", "region successes", "region failures", "region")
    values = (value if is_number(value := task.note.get(name)) and abs(value) < MOST else 0 for name in names)
    length, share, *counts = values
    successes, failures, restarts = map(int, counts)
    return RegionMoment(task.id, step, float(length), float(share), successes, failures, restarts, generation)


def sentences_of(rung: Rung | None, region: RegionMoment | None) -> Iterator[str]:
    """Yields where a run is, for people."""
    if rung is not None:
        part = f"from {100 * rung.begin:.0f} % to {100 * rung.end:.0f} % of their distillation"
        yield (
            f"The next generation of architectures is chosen from candidates: {rung.candidates:,} of them train rung "
            f"{rung.number}, {part}, with {counted(rung.reported, 'result')} so far."
        )
    if region is not None:
        counts = f"{counted(region.successes, 'success')} and {counted(region.failures, 'failure')} in a row"
        categories = f", and {100 * region.share:.0f} % of the categories may change" if region.share < 1 else ""
        yield (
            f"At step {region.step:,} the trust region was {short(region.length)} of each range wide{categories} "
            f"({counts}, {counted(region.restarts, 'restart')})."
        )
