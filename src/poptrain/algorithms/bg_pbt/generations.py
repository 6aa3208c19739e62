"""When BG-PBT begins a new generation, and how long its candidates are distilled (section 3.2 of arXiv:2207.09405).

a generation ends   after `every` steps, or after `patience` rounds without a new best score
candidates          3 for each member, and the best architecture of every generation before
rungs               s = ⌈ln candidates / ln B⌉ of successive halving; rung r < s - 1 trains t_distill 2^(r-s) steps,
                    the last one the rest of t_distill; max(B, half) survive each
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, log
from typing import NamedTuple

from poptrain.algorithms.parts.turns import check_count
from poptrain.core.answering import answering_class
from poptrain.core.arguments import check_number
from poptrain.core.errors import UsageError
from poptrain.core.wellformed import MAX_SEATS

PER_MEMBER = 3  # candidates
DISTILL, EVERY = 10, 20  # intervals
PAPER_DISTILL, PAPER_EVERY = 30, 40


class Rung(NamedTuple):
    """One step of successive halving."""

    steps: int  # that each of its candidates trains
    begin: float  # of these steps, as a share of the distillation
    end: float
    survivors: int  # of its candidates


@answering_class
@dataclass(frozen=True)
class Generations:
    """How the architectures of a population change: by generations, whose members learn from those of the generation before.

    Args:
        distill: steps from a fresh student to the end of its distillation; None: 10 intervals.
        every: steps after which a generation ends; None: 20 intervals.
        patience: rounds without a new best score after which it ends earlier.
        most: generations after the first one.
        candidates: students that the members of a generation are chosen from; None: 3 for each member.
        modelled: share of the candidates whose architectures a model chooses.
    """

    distill: int | None = None
    every: int | None = None
    patience: int = 20
    most: int = 2
    candidates: int | None = None
    modelled: float = 0.5

    def __post_init__(self) -> None:
        numbers = {"distill": self.distill, "every": self.every, "candidates": self.candidates}
        for name, value in numbers.items():
            if value is not None:
                check_count("Generations", name, value, 1)
        check_count("Generations", "patience", self.patience, 1)
        check_count("Generations", "most", self.most, 1)
        check_number("Generations", "modelled", self.modelled, 0.0, 1.0)

    def check(self, what: str, population: int) -> None:
        """Raises a `UsageError` if there are fewer candidates than members, or more than a run has seats."""
        if self.candidates is not None:
            check_count(what, "generations.candidates", self.candidates, population)
        if self.drawn(population) + self.most > MAX_SEATS:
            given = f"generations.candidates={self.candidates!r} and generations.most={self.most!r}"
            raise UsageError(f"{what}: {given}, expected at most {MAX_SEATS:,} together.")

    def as_in_paper(self, interval: int) -> Generations:
        """Returns the settings with the lengths of the paper's runs where none are given."""
        distill = PAPER_DISTILL * interval if self.distill is None else self.distill
        return replace(self, distill=distill, every=PAPER_EVERY * interval if self.every is None else self.every)

    def drawn(self, population: int) -> int:
        """Returns the number of candidates that are chosen by the model or at random."""
        return PER_MEMBER * population if self.candidates is None else self.candidates

    def rungs(self, candidates: int, population: int, interval: int) -> tuple[Rung, ...]:
        """Returns the rungs that lead from some candidates to the population.

        Args:
            interval: of the algorithm, in steps.
        """
        total = DISTILL * interval if self.distill is None else self.distill
        count = max(1, ceil(log(candidates) / log(max(population, 2)) - 1e-9)) if candidates > 1 else 1
        rungs, spent, left = [], 0, candidates
        for index in range(count):
            last = index == count - 1
            steps = total - spent if last else min(max(1, total >> (count - index)), total - spent)
            left = population if last else max(population, round(left / 2))
            rungs.append(Rung(steps, spent / total, (spent + steps) / total, left))
            spent += steps
        return tuple(rung for rung in rungs if rung.steps > 0)

    def length(self, interval: int) -> int:
        """Returns the steps after which a generation ends."""
        return EVERY * interval if self.every is None else self.every

    def cost(self, candidates: int, population: int, interval: int) -> int:
        """Returns the steps that a change of the generation trains, of all candidates together."""
        total = 0
        for rung in self.rungs(candidates, population, interval):
            total, candidates = total + candidates * rung.steps, rung.survivors
        return total
