"""Population Based Training. Jaderberg et al. 2017, "Population Based Training of Neural Networks", arXiv:1711.09846.

Algorithm 1, for every member (θ, h, p, t), asynchronously:

    θ ← step(θ | h);  p ← eval(θ)                        a task: `interval` steps and one evaluation
    if ready(p, t):                                      its result is told
        h', θ' ← exploit(h, θ, p, P)                     another member's task becomes the parent
        if θ ≠ θ':  h, θ ← explore(h', θ', P)            new hyperparameters, only after a copy
    update P with (θ, h, p, t + 1)                       the history

    paper   here                          shape
    P       the seats of the history      (population,)
    θ       checkpoint of `standing`      opaque
    p       score of `standing`           scalar; the donor's right after a copy, so no second evaluation is needed
    h       hparams of the seat's newest task
    ready   every `interval` steps, after `warmup`

Departures from the paper: a diverged or failed member is replaced at once, by every strategy; values are clipped to their
range; ties are broken by a keyed random order; nobody exploits at the budget, where no training would follow; `average`
smooths the score over a lineage; `controls` members take no part, as an experiment inside the run. The synchronous form
(`sync=True`) ranks everybody at a barrier, from one snapshot.
Departures from the reference code: no public code of the authors exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

from poptrain.algorithms.parts import turns
from poptrain.algorithms.parts.exploit import check_exploit, truncation
from poptrain.algorithms.parts.explore import as_explore, perturb
from poptrain.algorithms.parts.snapshot import Population
from poptrain.core import History, Task, Value
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.protocols import Clone, Exploit, Explore, Proposal
from poptrain.core.rng import rng
from poptrain.space import Space

Copy = Literal["both", "weights", "hparams"]


def pbt(
    space: Space,
    population: int = 8,
    *,
    interval: int | turns.Seconds,
    sync: bool = True,
    exploit: Exploit | None = None,
    explore: Any = perturb(),
    copy: Copy = "both",
    warmup: int = 0,
    average: int = 1,
    initial: Sequence[Mapping[str, Value]] = (),
    controls: int = 0,
) -> Pbt:
    """Returns population based training.

    Args:
        space: the hyperparameters and their ranges.
        population: number of members; the paper's gains begin at about 20, and 4 to 8 already work.
        interval: steps between decisions of one member (the paper's ready), in the trainable's own steps.
        sync: wait for all members before deciding, or decide for each as it reports.
        exploit: `truncation(fraction)` (default 0.2), `welch(alpha, window)` or `tournament()`.
        explore: `perturb`, `additive`, `resample`, None (selection alone) or ``f(hparams, generator) -> hparams``.
        copy: what a loser takes from its donor: "both", "weights" or "hparams".
        warmup: steps before which nobody exploits (failed members are still replaced).
        average: how many results of a lineage the selection score is averaged over.
        initial: known-good configurations for the first members; names left out are drawn.
        controls: so many of the members, the last ones, keep their first hyperparameters and weights of their own, are never
            copied and, if they fail, stay failed: a small random search beside the others, on the same seeds and machine.

    Raises:
        UsageError: an argument is out of range.

    >>> import poptrain as pt
    >>> pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=4, interval=10).seats
    4
    """
    return make("pbt", space, population, interval=interval, sync=sync, exploit=truncation(0.2) if exploit is None else exploit,
                explore=as_explore(explore), copy=copy, warmup=warmup, average=average, initial=initial,
                controls=controls)  # fmt: skip


def make(
    what: str,
    space: Space,
    population: int,
    *,
    interval: int | turns.Seconds,
    sync: bool,
    exploit: Exploit,
    explore: Explore,
    copy: Copy = "both",
    warmup: int = 0,
    average: int = 1,
    initial: Sequence[Mapping[str, Value]] = (),
    evaluate_first: bool = False,
    controls: int = 0,
) -> Pbt:
    """Returns the algorithm `what`, which is PBT with some `explore`, after checking every argument.

    Raises:
        UsageError: an argument is out of range.
    """
    turns.check_space(what, space)
    turns.check_population(what, population, initial)
    turns.check_interval(what, interval)
    check_exploit(what, exploit)
    if copy not in get_args(Copy):
        raise UsageError(f"{what}: copy={copy!r}, expected 'both', 'weights' or 'hparams'.{did_you_mean(copy, get_args(Copy))}")
    turns.check_count(what, "warmup", warmup, 0)
    turns.check_count(what, "average", average, 1)
    turns.check_count(what, "controls", controls, 0)
    if controls and population - controls < 2:
        raise UsageError(f"{what}: controls={controls} of {population} members leave {population - controls}: leave at least 2.")
    if not isinstance(evaluate_first, bool):
        raise UsageError(f"{what}: evaluate_first={evaluate_first!r}, expected True or False.")
    return Pbt(space, population, interval, bool(sync), exploit, explore, copy, warmup, average,
               turns.freeze(initial, space), evaluate_first, what, controls)  # fmt: skip


@dataclass(frozen=True)
class Pbt:
    """The algorithm as a value; see `pbt`."""

    space: Space
    population: int
    interval: int | turns.Seconds
    sync: bool
    exploit: Exploit[Population]
    explore: Explore[Space]
    copy: Copy = "both"
    warmup: int = 0
    average: int = 1
    initial: tuple[Any, ...] = ()
    evaluate_first: bool = False  # every member is scored before it trains, by a task of 0 steps that the first one continues
    name: str = "pbt"  # what people called; relatives are told apart by it
    controls: int = 0  # members, the last ones, that take no part

    @property
    def seats(self) -> int:
        return self.population

    def ask(self, history: History) -> tuple[Task, ...]:
        """Returns the next tasks of `history`; () while waiting, and when all members are finished or failed."""
        if history.n == 0:
            steps = 0 if self.evaluate_first else self.interval
            return self._marked(turns.first_round(history, self.space, self.population, steps, self.initial))
        seats = turns.turns(history, self.sync)
        return self._decide(history, seats) if seats else ()

    def needed(self, history: History) -> frozenset[int]:
        """Returns the tasks whose checkpoints may still become parents."""
        return turns.needed(history)

    def _decide(self, history: History, seats: list[int]) -> tuple[Task, ...]:
        population = Population.of(history, self.average, self.population - self.controls)
        position = {seat: index for index, seat in enumerate(population.seats.tolist())}
        heads = history.heads()
        healthy, steps, heads = history.oks_of(heads).tolist(), history.column("step")[heads].tolist(), heads.tolist()
        loses = self.exploit.losers(population).tolist()
        plans: list[turns.Plan] = []
        cloned: list[int] = []  # positions of those that explore has still to vary
        for seat in seats:
            own, donor = heads[seat], None
            failed = not healthy[seat]
            if self.evaluate_first and _untrained(history, own):  # nothing to compare; who cannot be evaluated begins without
                plans.append(turns.Plan(seat, None if failed else own, history.task(own).hparams))
                continue
            if seat >= self.population - self.controls:
                if not failed:
                    plans.append(turns.Plan(seat, own, history.task(own).hparams))
                continue
            if (failed or steps[seat] >= self.warmup) and loses[position[seat]]:
                draw = partial(rng, history.seed, history.n + len(plans), "exploit")
                donor = self.exploit.donor(population, position[seat], draw)
            if donor is not None:
                cloned.append(len(plans))
                plans.append(self._copied(history, population, heads, position[seat], donor, failed))
            elif not failed:
                plans.append(turns.Plan(seat, own, history.task(own).hparams))
            # else: a failed member with nobody to clone waits; someone may still deliver
        return self._tasks(history, plans, cloned)

    def _copied(
        self, history: History, population: Population, heads: list[int], mine: int, donor: int, failed: bool
    ) -> turns.Plan:
        """Returns the plan of a member that takes weights, hyperparameters or both from its donor."""
        seat, giver = int(population.seats[mine]), int(population.seats[donor])
        own, given = heads[seat], heads[giver]
        parent = int(population.standing[donor]) if failed or self.copy != "hparams" else own
        hparams = history.task(own if self.copy == "weights" else given).hparams
        note = {"own": _known(population.scores[mine]), "donor": float(population.scores[donor])}
        return turns.Plan(seat, parent, self._static(history, hparams, parent), note, giver)

    def _static(self, history: History, hparams: Mapping[str, Value], parent: int) -> Mapping[str, Value]:
        """Returns `hparams` with the static values of the weights that are trained on."""
        names = self.space.static_names
        if not names:
            return hparams
        weights = history.task(parent).hparams
        return {**hparams, **{name: weights[name] for name in names}}

    def _tasks(self, history: History, plans: list[turns.Plan], cloned: list[int]) -> tuple[Task, ...]:
        """Returns the plans as tasks, after all clones together were given new hyperparameters."""
        clones = [Clone(history.n + index, plans[index].seat, plans[index].parent, plans[index].hparams) for index in cloned]
        proposals = self.explore.propose(history, self.space, clones) if clones else ()
        for index, proposal in zip(cloned, proposals, strict=True):
            plan, (hparams, note, forecast) = plans[index], Proposal(*proposal)
            plans[index] = plan._replace(hparams=hparams, note={**plan.note, **note}, forecast=forecast)
        return self._marked(turns.segments(history, plans, self.interval))

    def _marked(self, tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        """Returns the tasks, those of controls with their role."""
        if not self.controls:
            return tasks
        first = self.population - self.controls
        return tuple(replace(task, role="control") if task.member >= first else task for task in tasks)


def _untrained(history: History, own: int) -> bool:
    """True for the evaluation before a member's first interval."""
    return history.task(own).steps == 0 and history.column("prev")[own] < 0


def _known(score: float) -> float | None:
    """Returns the score, or None for a member that failed: notes are for people."""
    return float(score) if score == score else None
