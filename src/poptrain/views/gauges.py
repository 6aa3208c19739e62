"""Gauges: how much of the gain selection took, how greedy it was, and how much diversity it left.

The mean score of the members rises in two ways only: a member takes a better one's place (selection), and members train. The two
add up exactly (the Price equation of population genetics, Price 1970, Nature 227: 520), so that "selection alone explains 40 %
of the gain" is bookkeeping and no estimate. What would have happened without exploring, or without copying, only a control
experiment can tell: `poptrain compare` of runs with ``explore=None`` or of `pt.random_search`, or ``pt.pbt(…, controls=2)``.

Whether *exploring* helps can be seen in one run: right after a copy, donor and clone train on from the same weights with
other hyperparameters, a paired experiment of one interval.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import isfinite
from weakref import WeakKeyDictionary

import numpy as np

from poptrain.core import Result, Task
from poptrain.log.reader import Record
from poptrain.statistics import sign_test
from poptrain.views.facts import Facts
from poptrain.views.format import short

PAIRS = 2_000  # newest pairs of scores from which their persistence is measured


@dataclass(frozen=True)
class Diversity:
    """Where the weights of all members come from, after one decision."""

    step: int  # the furthest lineage step of the members then
    founders: int  # first members that somebody descends from
    effective: float  # number of lineages of equal size that are as diverse: 1 / Σ share², from 1 to the number of members


@dataclass(frozen=True)
class Gauges:
    """Scores have the user's sign; None: nothing to measure. Control members count in `controls` and `ahead` only."""

    members: int
    gain: float | None  # of the members' mean score, from first results to now; positive is better
    selection: float  # the part of it that copying better members brought at the moment of the copy
    share: float | None  # selection / gain; None: there is no gain
    pressure: float | None  # greediness: share of the decisions that replaced a healthy member
    persistence: float | None  # rank correlation of members' scores with their own one interval later, -1 to 1
    explored: int  # clones with new hyperparameters whose donor went on from the same weights
    explored_better: int  # of them, those ahead of their donor one interval later
    explored_p: float | None  # two-sided sign test that it is even
    controls: int  # members that keep their first hyperparameters
    ahead: float | None  # best of the others minus best control, as held now; positive is better
    founders: int  # first members that the members' weights descend from
    effective: float | None  # effective number of lineages
    one_since: int | None  # the step since which all descend from one first member
    common_step: int | None  # the step of their newest common ancestor
    history: tuple[Diversity, ...] = field(repr=False)  # of every decision that changed it

    def sentences(self) -> tuple[str, ...]:
        """Returns what the gauges say, for people; () if nobody was ever copied and there are no controls."""
        said = []
        if self.pressure:
            if self.share is not None:
                part = f"{short(self.selection, 3)} of {short(self.gain, 3)}"
                rest = "training brought the rest" if self.share <= 1 else "between the copies members lost"
                said.append(f"Selection alone explains {100 * self.share:.0f} % of the gain in mean score ({part}); {rest}.")
            if self.explored:
                word = "more" if 2 * self.explored_better > self.explored else "fewer"
                chance = "no more than chance" if self.explored_p is None or self.explored_p > 0.05 else f"{word} than chance"
                said.append(f"Explored values beat their donor's, from the same weights, in {self.explored_better:,} of "
                            f"{self.explored:,} pairs ({chance}).")  # fmt: skip
            if self.persistence is not None:
                said.append(f"{100 * self.pressure:.0f} % of the decisions replaced a member; the order of scores persists for "
                            f"an interval with rank correlation {self.persistence:.2f}.")  # fmt: skip
            said.append(self._descent())
        if self.ahead is not None:
            way = "level with" if self.ahead == 0 else f"{short(abs(self.ahead), 3)} {'ahead of' if self.ahead > 0 else 'behind'}"
            said.append(f"The best member is {way} the best of {self.controls} controls.")
        return tuple(said)

    def _descent(self) -> str:
        if self.one_since is None:
            return (
                f"The {self.members} members descend from {self.founders} first ones, worth {self.effective:.1f} equal lineages."
            )
        common = "" if self.common_step is None else f"; their newest common ancestor is at step {self.common_step:,}"
        return f"All {self.members} members descend from one since step {self.one_since:,}{common}."


def gauges(record: Record) -> Gauges:
    """Returns the gauges of a run as its record was read."""
    return gauges_of(record, Facts.of(record))


def gauges_of(record: Record, facts: Facts) -> Gauges:
    """Returns the gauges by facts of one's own. What was added up is remembered: looking again costs only new lines."""
    tally = TALLIES.get(facts)
    if tally is None:
        tally = TALLIES[facts] = Tally()
    return tally.read_on(record, facts).gauges(facts)


class Tally:
    """The sums behind the gauges, continued line by line."""

    def __init__(self) -> None:
        self.lines = 0
        self.founder: list[int] = []  # of each task: the first task that its weights descend from
        self.held: dict[int, float] = {}  # by seat: score of the weights it holds
        self.first: dict[int, float] = {}  # by seat: its first score
        self.roots: dict[int, int] = {}  # by seat: founder of the weights it holds
        self.shares: Counter[int] = Counter()  # seats by founder
        self.squares = self.furthest = 0
        self.controls: set[int] = set()
        self.selection = 0.0
        self.decisions = self.replaced = 0
        self.lasting: deque[tuple[float, float, int]] = deque(maxlen=PAIRS)  # score before, score after, step
        self.own: dict[int, int] = {}  # by task: the next one of the same seat, from its weights
        self.clones: dict[int, list[int]] = {}  # by task: those of other seats, from its weights and with other hyperparameters
        self.told: set[int] = set()  # of both, those with results
        self.pairs = self.better = self.worse = 0
        self.history: list[Diversity] = []

    def read_on(self, record: Record, facts: Facts) -> Tally:
        """Returns the sums with the lines that `facts` has gained."""
        for number in range(self.lines, facts.lines):
            line = record.lines[number]
            if isinstance(line[0], Task):
                for task in line:
                    self._issue(facts, task)
                self._diversity()
            elif isinstance(line[0], Result):
                for result in line:
                    self._tell(facts, result)
        self.lines = facts.lines
        return self

    def _issue(self, facts: Facts, task: Task) -> None:
        parent, previous = task.parent, facts.previous[task.id]
        source = parent if parent is not None else task.teacher
        root = task.id if source is None else self.founder[source]
        self.founder.append(root)
        if task.role == "control":
            self.controls.add(task.member)
        if task.role:  # the weights of an evaluator are none of its own
            return
        if parent is not None and parent == previous:
            self.decisions += task.steps > 0
            self.own[parent] = task.id
            return
        self._descend(task.member, root)
        if source is not None:
            self.furthest = max(self.furthest, facts.results[source].step)
        if parent is not None:
            self._copied(facts, task, previous)

    def _descend(self, seat: int, root: int) -> None:
        before = self.roots.get(seat)
        if before == root:
            return
        if before is not None:
            self.squares -= 2 * self.shares[before] - 1
            self.shares[before] -= 1
        self.squares += 2 * self.shares[root] + 1
        self.shares[root] += 1
        self.roots[seat] = root

    def _copied(self, facts: Facts, task: Task, previous: int) -> None:
        """Takes a copy; asynchronously, the donor may itself still stand on an older task of this very seat."""
        if task.steps > 0 and previous >= 0 and facts.results[previous].healthy:
            self.decisions += 1
            self.replaced += 1
        if task.member in self.held:
            score = facts.results[task.parent].score
            self.selection += score - self.held[task.member]
            self.held[task.member] = score
        if task.hparams != facts.tasks[task.parent].hparams:
            self.clones.setdefault(task.parent, []).append(task.id)

    def _tell(self, facts: Facts, result: Result) -> None:
        task, score = facts.tasks[result.task], result.score
        seat, parent = task.member, task.parent
        if result.error is not None or not isfinite(score) or seat in self.controls or task.evaluator:
            return
        if seat not in self.first:
            self.first[seat] = score
        self.held[seat] = score
        if result.step > self.furthest:
            self.furthest = result.step
        if parent is None or task.steps == 0:
            return
        if facts.tasks[parent].member == seat:
            self.lasting.append((facts.results[parent].score, score, result.step))
        if parent in self.clones:
            self._pair(facts, task)

    def _pair(self, facts: Facts, task: Task) -> None:
        """Compares a clone with its donor, one interval on from the same weights, when the later of the two is told."""
        own, clones = self.own.get(task.parent), self.clones[task.parent]
        self.told.add(task.id)
        for clone in [id for id in clones if id in self.told] if task.id == own else [task.id]:
            if own in self.told and clone in clones and facts.tasks[clone].steps == facts.tasks[own].steps:
                difference = facts.sign * (facts.results[clone].score - facts.results[own].score)
                self.pairs += 1
                self.better += difference > 0
                self.worse += difference < 0

    def _diversity(self) -> None:
        seats = len(self.roots)
        if not seats:
            return
        effective = seats * seats / self.squares
        if not self.history or self.history[-1].effective != effective:
            self.history.append(Diversity(self.furthest, sum(count > 0 for count in self.shares.values()), effective))

    # -- what they say ------------------------------------------------------------------------------------------------

    def gauges(self, facts: Facts) -> Gauges:
        """Returns the gauges up to the lines read."""
        sign, seats = facts.sign, len(self.roots)
        gain = sign * sum(self.held[seat] - self.first[seat] for seat in self.held) / seats if self.held else None
        selection = sign * self.selection / seats if seats else 0.0
        last = self.history[-1] if self.history else None
        one = last is not None and last.effective == 1 and seats > 1
        return Gauges(
            members=seats,
            gain=gain,
            selection=selection,
            share=selection / gain if gain is not None and gain > 0 else None,
            pressure=self.replaced / self.decisions if self.decisions else None,
            persistence=_persistence(self.lasting),
            explored=self.pairs,
            explored_better=self.better,
            explored_p=sign_test(self.better, self.worse) if self.pairs else None,
            controls=len(self.controls),
            ahead=self._ahead(facts) if self.controls else None,
            founders=last.founders if last else 0,
            effective=last.effective if last else None,
            one_since=last.step if one else None,
            common_step=_common(facts, self.roots) if one else None,
            history=tuple(self.history),
        )

    def _ahead(self, facts: Facts) -> float | None:
        held = {seat: facts.standing(seat) for seat in facts.seats if not facts.tasks[facts.seats[seat].head].evaluator}
        scores = {seat: facts.sign * facts.results[id].score for seat, id in held.items() if id is not None}
        controls = [score for seat, score in scores.items() if seat in self.controls]
        others = [score for seat, score in scores.items() if seat not in self.controls]
        return max(others) - max(controls) if controls and others else None


TALLIES: WeakKeyDictionary[Facts, Tally] = WeakKeyDictionary()


def _common(facts: Facts, seats: Iterable[int]) -> int | None:
    """Returns the step of the newest task that all members' weights descend from: the oldest lines meet last."""
    heap = list({-id for seat in seats if (id := facts.standing(seat)) is not None})
    heapify(heap)
    inside = set(heap)
    while len(heap) > 1:  # the newest task cannot be an ancestor of the others
        newest = heappop(heap)
        source = facts.source(-newest)
        if source is None:
            return None
        if -source not in inside:
            inside.add(-source)
            heappush(heap, -source)
    return facts.end(-heap[0]) if heap else None


def _persistence(pairs: deque[tuple[float, float, int]]) -> float | None:
    """Returns the rank correlation inside rounds (results that end at one step), over all of them."""
    if len(pairs) < 4:
        return None
    before, after, step = np.asarray(pairs, float).T
    ranks_before, ranks_after = np.zeros(len(step)), np.zeros(len(step))
    for each in np.unique(step):
        here = step == each
        ranks_before[here], ranks_after[here] = _centred_ranks(before[here]), _centred_ranks(after[here])
    scale = np.sqrt((ranks_before**2).sum() * (ranks_after**2).sum())
    return float(ranks_before @ ranks_after / scale) if scale > 0 else None


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Returns ranks minus their mean, equal values sharing a rank; shape (n,)."""
    ordered = np.sort(values)
    ranks = (np.searchsorted(ordered, values) + np.searchsorted(ordered, values, side="right")) / 2
    return ranks - ranks.mean()
