"""One round of FIRE PBT: what every seat does next. The order within a round, with the sections of the paper (see `fire_pbt`):

fitness of every member                                              3, 3.1.2
PBT in every sub-population                                          3, 4.1.1
evaluators that are cancelled, succeed or stop                       3.2
assignment of idle evaluators                                        3, steps 1 to 3
tasks, after all clones together got new hyperparameters

When evaluation does not pay any more (`FireSettings.released`), a round is one of PBT among all seats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from poptrain.algorithms.fire.curves import TrainingCurve, best_score_diff, curve_sign_test
from poptrain.algorithms.fire.evaluations import Evaluation, FireSettings
from poptrain.algorithms.parts import turns
from poptrain.algorithms.parts.explore import proposals_of
from poptrain.algorithms.parts.snapshot import Population
from poptrain.core import History, Hparams, Task, Value, rank
from poptrain.core.protocols import Clone, Draw, Proposal
from poptrain.core.rng import rng


@dataclass(slots=True)
class SeatPlan:
    """What one seat does next, before explore."""

    id: int
    parent: int
    hparams: Hparams
    cloned: bool = False
    note: Mapping[str, Value] = field(default_factory=dict)
    job: Evaluation | None = None  # of an evaluator
    donor: int | None = None


class Round:
    """The decisions between two rounds; the object lives for one `ask`. `plans` is filled in the order of the seats."""

    def __init__(self, algorithm: FireSettings, history: History, turns: list[int]):
        self.algorithm, self.history, self.state = algorithm, history, algorithm.state(history)
        self.turns = frozenset(turns)  # idle, and failed or with steps left
        self.heads = [*history.heads().tolist(), *[-1] * algorithm.seats][: algorithm.seats]  # -1: never had a task
        members = self.heads[: algorithm.population]
        self.step = max((history.step(head) for head in members if history.ok(head)), default=0)
        self.curves: dict[int, TrainingCurve] = {}
        self.fitness: list[dict[int, float]] = []  # of every sub-population, by seat
        self.plans: dict[int, SeatPlan] = {}
        self.lost: set[int] = set()  # members that were replaced in this round, or failed
        self.handed: set[int] = set()  # children that take over an evaluator's weights

    def decide(self) -> tuple[Task, ...]:
        """Returns the tasks of the next round."""
        if self.algorithm.released(self.state, self.step, self.history.budget):
            seats = range(self.algorithm.seats)
            self.fitness = [{seat: self.history.score(self.heads[seat]) for seat in seats if self._trained(seat)}]
            self._evolve(0, seats)
            return self._tasks()
        levels = range(len(self.algorithm.subpopulations))
        self.fitness = [self._fitness(i) for i in levels]
        for i in levels:
            self._evolve(i, self.algorithm.members(i))
        self._assign(self._check())
        return self._tasks()

    # fitness (3, 3.1.2)

    def _fitness(self, i: int) -> dict[int, float]:
        """Returns the fitness of the members of P_{i+1} that have one: the score, or the sum over pairs of 3.1.2."""
        members, history = self.algorithm.members(i), self.history
        if i == 0:
            return {seat: history.score(self.heads[seat]) for seat in members}  # 3: the fitness of P_1 is Q
        busy = {at.member: seat for seat, at in self.state.busy.items() if at.member in members}
        busy = {member: seat for member, seat in busy.items() if self._ended_well(seat)}  # 3.1.2: Φ
        return self._faster({member: self._curve(seat) for member, seat in sorted(busy.items())})

    def _trained(self, seat: int) -> bool:
        """True if a seat has healthy weights that are as old as those of the members; an idle evaluator's are older."""
        head = self.heads[seat]
        return head >= 0 and self.history.ok(head) and self.history.step(head) >= self.step

    def _ended_well(self, seat: int) -> bool:
        """True if the newest task of a seat has a result without an error; its score may be infinite."""
        result = self.history.result(self.heads[seat])
        return result is not None and result.error is None

    def _faster(self, curves: Mapping[int, TrainingCurve]) -> dict[int, float]:
        """Returns by how much each curve improves faster than all others together (3.1.2); the values add up to 0."""
        total = dict.fromkeys(curves, 0.0)
        for j in curves:
            for k in curves:
                if j < k:
                    difference = best_score_diff(curves[j], curves[k])
                    total[j] += difference  # 3.1.2: the sum over Φ
                    total[k] -= difference  # antisymmetric, so each pair is compared once
        return total

    def _curve(self, seat: int) -> TrainingCurve:
        if seat not in self.curves:
            self.curves[seat] = TrainingCurve.of(self.state.curves[seat])
        return self.curves[seat]

    # PBT within a sub-population (3)

    def _evolve(self, i: int, members: Sequence[int]) -> None:
        """Plans what the members do: those that lose, and failed ones, copy another; the others go on."""
        history, algorithm = self.history, self.algorithm
        failed = {
            seat
            for seat in members
            if not (self._trained(seat) if seat >= algorithm.population else history.ok(self.heads[seat]))
        }
        ranked = [seat for seat in members if seat in self.fitness[i] or seat in failed]
        population = self._snapshot(ranked, i)
        few = i > 0 and algorithm.exploit.fraction * len(ranked) < 1 - 1e-9  # 4.1.1, exploit: k = floor(0.25 |Φ|) = 0
        for seat in members:
            if seat not in self.turns and self.heads[seat] >= 0:
                continue
            own, id, giver = self.heads[seat], history.n + len(self.plans), None
            draw = partial(rng, history.seed, id, "exploit")
            if seat in failed or (seat in self.fitness[i] and not few):  # 3.1.2: without a fitness, exempt from evolution
                donor = algorithm.exploit.donor(population, ranked.index(seat), draw)
                giver = None if donor is None else ranked[donor]
            if giver is None and seat in failed:
                giver = self._anyone(members if i else (), draw)
            if giver is not None:
                self.plans[seat] = self._clone(id, giver, self.fitness[i].get(seat), self.fitness[i].get(giver))
            elif seat not in failed:
                self.plans[seat] = SeatPlan(id, own, history.task(own).hparams)
            if giver is not None or seat in failed:
                self.lost.add(seat)

    def _snapshot(self, seats: list[int], i: int) -> Population:
        """Returns the seats as exploit sees them, scored by their fitness; a failed one ranks last."""
        history = self.history
        heads = np.array([self.heads[seat] for seat in seats], int)
        scores = np.array([self.fitness[i].get(seat, np.nan) for seat in seats])
        scores[~history.oks_of(heads)] = np.nan
        donors = np.isfinite(scores)
        if history.budget is not None:
            donors &= history.column("step")[heads] < history.budget
        order = rank(scores, rng(history.seed, history.n, "ties", *([i] if i else [])))
        return Population(history, np.array(seats), heads, scores, donors, order, np.argsort(order))

    def _anyone(self, members: Sequence[int], draw: Draw) -> int | None:
        """Returns a healthy seat to copy if no ranked one is left: of the same sub-population, of any, or an evaluator."""
        everyone = range(self.algorithm.population)
        for seats in (members, everyone, sorted(self.state.busy)):
            fine = [seat for seat in seats if seat in self.turns and self.history.ok(self.heads[seat])]
            if fine:
                return fine[int(draw().integers(len(fine)))]
        return None

    def _clone(self, id: int, giver: int, own: float | None, given: float | None) -> SeatPlan:
        """Returns the plan of a seat that copies another one, with the fitness of both for people to read."""
        parent = self.heads[giver]
        known = {name: float(value) for name, value in (("own", own), ("donor", given)) if value is not None and value == value}
        return SeatPlan(id, parent, self.history.task(parent).hparams, True, known, donor=giver)

    # stop and success (3.2)

    def _check(self) -> dict[int, Evaluation]:
        """Hands over the weights of successful evaluators; returns what the others go on with."""
        going: dict[int, Evaluation] = {}
        successes: dict[int, list[int]] = {}
        for seat, at in sorted(self.state.busy.items()):
            fine = self.history.ok(self.heads[seat]) and seat in self.turns and at.target in self.plans
            if not fine or {at.member, at.target} & self.lost:  # 3.2: ρ_parent or ρ_child lost an evolution event
                continue
            mine, target = self._curve(seat), self._curve(at.target)
            p = curve_sign_test(mine, target)  # 3.2, binom_test
            faster = p is not None and p < self.algorithm.p_stat and best_score_diff(mine, target) > 0  # 3.2, success
            if faster and (not self.algorithm.ahead or self._not_lower(mine, target)):
                successes.setdefault(at.target, []).append(seat)
            elif not self.algorithm.stops(p, self.history.step(self.heads[seat]) - at.since):  # 3.2, stop; T = step - since
                going[seat] = at
        for child, seats in successes.items():
            self._hand_over(child, seats)
        return {seat: at for seat, at in going.items() if not {at.member, at.target} & self.handed}

    def _not_lower(self, mine: TrainingCurve, target: TrainingCurve) -> bool:
        """True if the mean score of the newest interval is not lower; until then, the evaluator goes on."""
        points = max(1, min(self.algorithm.evals, len(mine.raw) - 1, len(target.raw) - 1))
        return bool(mine.raw[-points:].mean() >= target.raw[-points:].mean())

    def _hand_over(self, child: int, seats: list[int]) -> None:
        """Plans that the child takes the weights of the fittest evaluator that succeeded on it."""
        pairwise = self._faster({seat: self._curve(seat) for seat in seats})
        best = max(seats, key=lambda seat: (pairwise[seat], self.history.score(self.heads[seat]), -seat))
        plan, given = self.plans[child], self.heads[best]
        plan.parent = given  # 3, step 4: θ_child ← θ_η
        plan.hparams = self.history.task(given).hparams  # the child's own, but for static ones: they belong to the weights
        plan.donor = best
        plan.note = {"evaluates": self.state.busy[best].member, "since": self.state.busy[best].since}
        self.handed.add(child)

    # assignment (3, steps 1 to 3)

    def _assign(self, going: dict[int, Evaluation]) -> None:
        """Plans the evaluators that go on, and assigns a parent to each idle one; those longest without evaluation come first."""
        history, algorithm = self.history, self.algorithm
        taken = {at.member for at in going.values()}
        waiting = iter(self._candidates(taken))
        for seat in range(algorithm.population, algorithm.seats):
            if (job := going.get(seat)) is not None:
                parent, hparams = self.heads[seat], history.task(self.heads[seat]).hparams  # 3, step 3
            elif (job := next(waiting, None)) is not None:
                parent = self.plans[job.member].parent  # 3, step 1: θ_η ← θ_parent
                hparams = self._with_static(self.plans[job.target].hparams, parent)  # 3, step 2: h_η ← h_child
            else:
                continue
            self.plans[seat] = SeatPlan(history.n + len(self.plans), parent, hparams, job=job)

    def _candidates(self, taken: set[int]) -> list[Evaluation]:
        """Returns the evaluations that idle evaluators may begin, those of members longest without one first."""
        found = []
        for i in range(1, len(self.algorithm.subpopulations)):
            if (target := self._target(i - 1)) is None:
                continue
            for seat in self.algorithm.members(i):
                if seat in taken or seat not in self.plans:  # 3.1.2: never more than one evaluator
                    continue
                if self._begin(seat) < self.algorithm.warmup[i - 1]:  # 3.2, min_steps_before_eval
                    continue
                new = seat in self.lost or seat in self.handed  # 3.2: longest since it was evaluated or lost
                touched = self.history.lines if new else self.state.touched.get(seat, -1)
                found.append((touched, seat, Evaluation(seat, target, self._begin(seat))))
        return [job for *_, job in sorted(found, key=lambda each: each[:2])]

    def _begin(self, seat: int) -> int:
        return self.history.step(self.plans[seat].parent)

    def _target(self, i: int) -> int | None:
        """Returns the fittest member of a child sub-population, or the one with the highest score, if not just replaced."""
        free = [seat for seat in self.algorithm.members(i) if seat in self.plans and seat not in self.lost]
        fit = [seat for seat in free if seat in self.fitness[i] and seat not in self.handed] if i else []
        if fit:
            return max(fit, key=lambda seat: (self.fitness[i][seat], -seat))  # 3, step 2: the highest fitness
        return max(free, key=lambda seat: (self.history.score(self.plans[seat].parent), -seat), default=None)

    def _with_static(self, hparams: Hparams, parent: int) -> Hparams:
        """Returns `hparams` with the static values of the weights that are trained on, repaired."""
        names, weights = self.algorithm.space.static_names, self.history.task(parent).hparams
        if all(hparams[name] == weights[name] for name in names):
            return hparams
        return self.algorithm.space.finish({**hparams, **{name: weights[name] for name in names}})

    # tasks

    def _tasks(self) -> tuple[Task, ...]:
        """Returns the plans as tasks, after all clones together were given new hyperparameters."""
        algorithm, history = self.algorithm, self.history
        clones = [Clone(plan.id, seat, plan.parent, plan.hparams) for seat, plan in self.plans.items() if plan.cloned]
        explored = iter(proposals_of(algorithm.explore, history, algorithm.space, clones))
        plans = []
        for seat, plan in self.plans.items():
            hparams, note, forecast = next(explored) if plan.cloned else Proposal(plan.hparams)
            plans.append(turns.Plan(seat, plan.parent, hparams, {**plan.note, **note}, plan.donor, forecast))
        tasks = zip(turns.segments(history, plans, algorithm.interval), self.plans.values(), strict=True)
        return tuple(
            algorithm.measured(replace(task, role="evaluator", tags=plan.job.tags()) if plan.job else task)
            for task, plan in tasks
        )
