"""Population Based Training. Jaderberg et al. 2017, "Population Based Training of Neural Networks", arXiv:1711.09846.

Algorithm 1, for every member (θ, h, p, t), asynchronously:

    θ ← step(θ | h);  p ← eval(θ)                        a task: `interval` steps and one evaluation
    if ready(p, t):                                      its result is reported
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
range; ties are broken by a keyed random order; no member exploits at the budget, because no training follows; with
`plateau="search"` members draw new values instead of copying while the episode returns say that no member has learned; with
`anew` values are drawn from the whole ranges while every member is worse than all were at first; `average` smooths the score
over a lineage; `controls` members take no part: they are a control experiment inside the run. The synchronous form
(`sync=True`) ranks all members at a barrier, from one snapshot.
Departures from the reference code: no public code of the authors exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from poptrain.algorithms.parts import turns
from poptrain.algorithms.parts.allowance import Allowance
from poptrain.algorithms.parts.exploit import donor_of, losers_of, truncation
from poptrain.algorithms.parts.explore import DEFAULT, ExploreArgument, as_explore, check_factors, perturb, proposals_of
from poptrain.algorithms.parts.lost import hopeless, lost
from poptrain.algorithms.parts.options import Copy, OnPlateau, PbtOptions
from poptrain.algorithms.parts.plateau import EARLIER, Plateau, Search
from poptrain.algorithms.parts.snapshot import Population
from poptrain.core import History, Hparams, Task, Value
from poptrain.core.answering import answering
from poptrain.core.brief import brief
from poptrain.core.fingerprint import Earlier
from poptrain.core.interval import Interval
from poptrain.core.protocols import Clone, Exploit, Explore
from poptrain.core.rng import rng
from poptrain.space import Space

FRACTION = 0.25  # of the members are replaced: of 8, the paper's fifth would be one


@answering
def pbt(
    space: Space,
    population: int = 8,
    *,
    interval: Interval,
    sync: bool = True,
    exploit: Exploit[Population] | None = None,
    explore: ExploreArgument | Literal["default"] = "default",
    copy: Copy = "both",
    warmup: int = 0,
    average: int = 1,
    initial: Sequence[Mapping[str, Value]] = (),
    controls: int = 0,
    starts: turns.Starts | None = None,
    plateau: OnPlateau | None = None,
    anew: bool | None = None,
    as_in: Literal["paper"] | None = None,
) -> Pbt:
    """Returns population based training.

    Args:
        space: the hyperparameters and their ranges.
        population: number of members; the paper's gains begin at about 20, and 4 to 8 already work.
        interval: steps between decisions about one member (the paper's ready), in the trainable's own steps; or `pt.seconds(s)`.
        sync: True: wait for all members before a decision; False: decide about each member when it reports.
        exploit: `truncation(fraction)` (default 0.25), `welch(alpha, window)`, `tournament()`, or an object that implements
            `poptrain.core.protocols.Exploit`.
        explore: `additive` (default: ``additive(0.1, resample=0.25)``), `perturb`, `resample`, None (selection alone),
            ``f(hparams, generator) -> hparams``, or an object that implements `poptrain.core.protocols.Explore`.
        copy: what a loser takes from its donor: "both", "weights" or "hparams".
        warmup: steps before which no member exploits (failed members are still replaced).
        average: number of results of a lineage that the selection score is the mean of.
        initial: known-good configurations for the first members; names left out are drawn.
        controls: number of members, the last ones, that keep their first hyperparameters and weights of their own. They are never
            copied, and stay failed if they fail: a small random search in the same run, on the same seeds and machine.
        starts: the first hyperparameters: "spread" (default: together they cover the ranges, as a Latin hypercube) or
            "random" (independent draws).
        plateau: what members do before anybody has learned, as far as `Result.returns` tell: "copy" (default: as later) or
            "search" (they don't copy, and the worst draw their hyperparameters again: `parts.plateau`).
        anew: while every member is worse than all were at first, clones draw their hyperparameters from the whole ranges, and so
            do members that go on, but for the best quarter by gain (`parts.lost`). Default: if `explore` is left open.
        as_in: "paper": what is not named is as in the paper: truncation(0.2), perturb((0.8, 1.2), resample=0), random starts.

    Raises:
        UsageError: an argument is out of range.

    >>> import poptrain as pt
    >>> pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=4, interval=10).seats
    4
    """
    options = PbtOptions(
        interval, sync, exploit, copy, warmup, average, initial, controls, starts=starts, as_in=as_in, plateau=plateau, anew=anew
    )
    if explore != "default":
        return make_pbt("pbt", space, population, as_explore(explore), options)
    if as_in == "paper":
        return make_pbt("pbt", space, population, perturb(resample=0), options)
    if anew is not None:
        return make_pbt("pbt", space, population, DEFAULT, options, {"explore": (perturb(),)})
    return make_pbt("pbt", space, population, DEFAULT, replace(options, anew=True), {"explore": (perturb(),), "anew": (False,)})


def make_pbt(
    what: str,
    space: Space,
    population: int,
    explore: Explore[Space],
    options: PbtOptions,
    earlier: Earlier = turns.FrozenDict(),
    fraction: float = 0.2,
    on_plateau: OnPlateau = "copy",
) -> Pbt:
    """Returns the algorithm with the name `what`: PBT with this `explore`.

    Args:
        earlier: the former defaults of `explore`, if the user left it open.
        fraction: of the truncation in the paper and in release 0.1.
        on_plateau: the default of `plateau`.

    Raises:
        UsageError: an argument is out of range.
    """
    turns.check_space(what, space)
    options.check(what, population)
    check_factors(explore, space)
    exploit, paper = options.exploit, options.paper
    open: dict[str, tuple[object, ...]] = dict(earlier)
    if exploit is None:
        exploit = truncation(fraction if paper else FRACTION)
        open |= {} if paper else {"exploit": (truncation(fraction),)}
    starts, former = options.first
    open |= former
    plateau = options.plateau or ("copy" if paper else on_plateau)
    open |= {"plateau": ("copy",)} if options.plateau is None and plateau == "search" else {}
    return Pbt(
        space,
        population,
        options.interval,
        options.sync,
        exploit,
        explore,
        options.copy,
        options.warmup,
        options.average,
        turns.freeze(options.initial, space),
        options.evaluate_first,
        what,
        options.controls,
        starts,
        plateau,
        anew=bool(options.anew),
        earlier=open,
    )


@dataclass(frozen=True)
class Pbt:
    """The algorithm as a value; see `pbt`."""

    space: Space
    population: int
    interval: Interval
    sync: bool
    shared_budget: bool = field(default=True, kw_only=True, metadata={"absent": False})  # all reach the budget: `Allowance`
    exploit: Exploit[Population]
    explore: Explore[Space]
    copy: Copy = "both"
    warmup: int = 0
    average: int = 1
    initial: tuple[Hparams, ...] = ()
    evaluate_first: bool = False  # score every member before it trains, by a task of 0 steps that its first interval continues
    name: str = "pbt"  # of the factory; `status` shows it, and ``dataclasses.replace(algorithm, name=…)`` changes it
    controls: int = 0  # members, the last ones, that take no part
    starts: turns.Starts = field(default="spread", metadata={"absent": "random"})
    plateau: OnPlateau = field(default="copy", metadata={"absent": "copy"})  # before anybody has learned: `parts.plateau`
    search: Search = field(default=Search(), metadata={"absent": EARLIER})  # how it searches then
    anew: bool = field(default=False, metadata={"absent": False})  # draw anew while all members are lost: `parts.lost`
    earlier: Earlier = field(default_factory=dict, compare=False, repr=False, metadata={"logged": False})

    __repr__ = brief

    @property
    def seats(self) -> int:
        """The number of members."""
        return self.population

    def ask(self, history: History) -> tuple[Task, ...]:
        """Returns the next tasks of `history`; () while waiting, and when all members are finished or failed."""
        if history.n == 0:
            steps = 0 if self.evaluate_first else self.interval
            return self._marked(turns.first_round(history, self.space, self.population, steps, self.initial, self.starts))
        seats = turns.turns(history, self.sync, self.shared_budget)
        return self._decide(history, seats) if seats else ()

    def needed(self, history: History) -> frozenset[int]:
        """Returns the tasks whose checkpoints may still become parents."""
        return turns.needed(history)

    def _decide(self, history: History, seats: list[int]) -> tuple[Task, ...]:
        population = Population.of(history, self.average, self.population - self.controls)
        position = {seat: index for index, seat in enumerate(population.seats.tolist())}
        heads = history.heads()
        healthy, steps, heads = history.oks_of(heads).tolist(), history.column("step")[heads].tolist(), heads.tolist()
        loses = losers_of(self.exploit, population)
        allowance = Allowance(population, self.interval, self.shared_budget)
        plateau = Plateau(population, self.population, self.search) if self.plateau == "search" else None
        anew = self.anew and lost(history, "worst")
        dropped = hopeless(history, [id for id in population.standing.tolist() if id >= 0]) if anew else set()
        plans: list[turns.Plan] = []
        clones: list[Clone] = []
        for seat in allowance.turns(seats):
            own, failed, donor = heads[seat], not healthy[seat], None
            go_on = turns.Plan(seat, own, history.task(own).hparams)
            if self.evaluate_first and _untrained(history, own):  # no gain to compare yet; a failed evaluation begins afresh
                allowance.go_on(seat)
                plans.append(go_on._replace(parent=None) if failed else go_on)
                continue
            if seat >= self.population - self.controls:
                if not failed and allowance.go_on(seat):
                    plans.append(go_on)
                continue
            if (failed or steps[seat] >= self.warmup) and loses[position[seat]]:  # ready
                draw = partial(rng, history.seed, history.n + len(plans), "exploit")
                donor = donor_of(self.exploit, population, position[seat], draw)
                if donor is not None and not failed and plateau is not None:
                    donor = plateau.donor(position[seat], donor)
            if donor is None and not failed and plateau is not None and plateau.holds and plateau.redraws(position[seat]):
                allowance.go_on(seat)
                plans.append(self._redrawn(history, go_on, history.n + len(plans), "redrawn"))
                continue
            own_weights = self.copy == "hparams" and not failed
            if donor is not None and (allowance.go_on(seat) if own_weights else allowance.copy(seat, donor)):
                id = history.n + len(plans)
                plan, clone = self._copied(history, population, id, position[seat], donor, failed)
                plans.append(self._redrawn(history, plan, id, "anew") if anew else plan)
                clones += [] if anew else [clone]
            elif not failed and allowance.go_on(seat):
                drop = own in dropped and steps[seat] >= self.warmup
                plans.append(self._redrawn(history, go_on, history.n + len(plans), "anew") if drop else go_on)
            # else: it waits until another member reports: none can be copied, or the steps are for better members
        return self._tasks(history, plans, clones, plateau is not None and plateau.holds)

    def _copied(
        self, history: History, population: Population, id: int, mine: int, donor: int, failed: bool
    ) -> tuple[turns.Plan, Clone]:
        """Returns the decision about a member that takes weights, hyperparameters or both from its donor."""
        seat, giver = int(population.seats[mine]), int(population.seats[donor])
        own, given = history.head(seat), history.head(giver)
        parent = int(population.standing[donor]) if failed or self.copy != "hparams" else own
        hparams = self._static(history, history.task(own if self.copy == "weights" else given).hparams, parent)
        score = population.scores[mine]  # NaN of a member that failed
        note = {"own": float(score) if score == score else None, "donor": float(population.scores[donor])}
        return turns.Plan(seat, parent, hparams, note, giver), Clone(id, seat, parent, hparams)

    def _redrawn(self, history: History, plan: turns.Plan, id: int, why: str) -> turns.Plan:
        """Returns a plan whose hyperparameters are drawn from the whole ranges, for the weights that it names."""
        hparams: Hparams = self.space.complete({}, rng(history.seed, id, "redraw"))
        if plan.parent is not None:
            hparams = self._static(history, hparams, plan.parent)
        return plan._replace(hparams=hparams, note={**plan.note, why: True})

    def _static(self, history: History, hparams: Hparams, parent: int) -> Hparams:
        """Returns `hparams` with the static values of the weights that are trained on."""
        names = self.space.static_names
        if not names:
            return hparams
        weights = history.task(parent).hparams
        return {**hparams, **{name: weights[name] for name in names}}

    def _tasks(self, history: History, plans: list[turns.Plan], clones: list[Clone], searching: bool) -> tuple[Task, ...]:
        """Returns the plans as tasks, after all clones together got new hyperparameters.

        An explore with a model may change the hyperparameters of members that go on as well; controls are left alone.
        """
        asked = (
            [*self._going_on(history, plans), *clones] if getattr(self.explore, "retunes", False) and not searching else clones
        )
        for clone, proposal in zip(asked, proposals_of(self.explore, history, self.space, asked), strict=True):
            plan = plans[clone.id - history.n]
            note = {**plan.note, **proposal.note}
            plans[clone.id - history.n] = plan._replace(hparams=proposal.hparams, note=note, forecast=proposal.forecast)
        return self._marked(turns.segments(history, plans, self.interval, self.shared_budget))

    def _going_on(self, history: History, plans: list[turns.Plan]) -> list[Clone]:
        """Returns the members that go on with their own weights and have trained."""
        return [
            Clone(id, plan.seat, plan.parent, plan.hparams)
            for id, plan in enumerate(plans, history.n)
            if plan.donor is None
            and plan.parent is not None
            and history.step(plan.parent)
            and plan.seat < self.population - self.controls
        ]

    def _marked(self, tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        """Returns the tasks, after those of controls got their role."""
        if not self.controls:
            return tasks
        first = self.population - self.controls
        return tuple(replace(task, role="control") if task.member >= first else task for task in tasks)


def _untrained(history: History, own: int) -> bool:
    """True for the evaluation before a member's first interval."""
    return history.task(own).steps == 0 and int(history.column("prev")[own]) < 0
