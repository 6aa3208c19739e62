"""The sums that the gauges are made of, continued line by line: selection, explored pairs, persistence, diversity.

A tally never looks back at the log. What it has to know of an earlier task is in a `Known`, and `state.RunState` hands over
those of the tasks that later lines can refer to.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from poptrain.core import Forecast, Hparams
from poptrain.views.foresight import Foretold

PERSISTENCE_PAIRS = 2_000  # newest pairs of scores from which the persistence of the order is measured


@dataclass(slots=True)
class Known:
    """One task, as far as later lines may ask for it. Scores have the user's sign."""

    member: int
    role: str
    parent: int | None
    source: int | None  # the task whose steps it continues; in a digest, the nearest such ancestor that is kept
    founder: int  # the first task that its weights descend from
    steps: int
    begin: int  # lineage steps
    end: int  # as planned, until it is reported
    hparams: Hparams
    score: float = float("nan")
    ok: bool = False  # reported, healthy, and not lost
    ended: bool = False  # its trial ended by itself: no score, and not a failure
    team: tuple[float | None, ...] = ()  # the scores of its actors, if it is a team


@dataclass(frozen=True)
class Diversity:
    """Where the weights of all members come from, after one decision."""

    step: int  # the furthest lineage step of the members then
    founders: int  # first members that at least one member descends from
    effective: float  # number of lineages of equal size that are as diverse: 1 / Σ share², from 1 to the number of members


@dataclass
class Tally:
    """All sums up to one line."""

    held: dict[int, float] = field(default_factory=dict)  # by seat: score of the weights it holds
    first: dict[int, float] = field(default_factory=dict)  # by seat: its first score
    roots: dict[int, int] = field(default_factory=dict)  # by seat: founder of the weights it holds
    shares: Counter[int] = field(default_factory=Counter)  # by founder: number of seats
    squares: int = 0  # Σ shares²
    furthest: int = 0
    controls: set[int] = field(default_factory=set)
    selection: float = 0.0
    decisions: int = 0
    replaced: int = 0
    lasting: deque[tuple[float, float, int]] = field(
        default_factory=lambda: deque(maxlen=PERSISTENCE_PAIRS)
    )  # before, after, step
    own: dict[int, int] = field(default_factory=dict)  # by task: the next task of the same seat, from its weights, unchanged
    clones: dict[int, list[int]] = field(
        default_factory=dict
    )  # by task: tasks of other seats, same weights, other hyperparameters
    reported: set[int] = field(default_factory=set)  # tasks of `own` and `clones` with a healthy result
    pairs: int = 0
    better: int = 0
    worse: int = 0
    history: list[Diversity] = field(default_factory=list)
    back: int = 0  # steps by which healthy members went back, because they copied one with fewer
    anew: int = 0  # tasks whose values were drawn from the whole ranges, because all members had become worse
    followed: int = 0  # proposals of a model
    unfollowed: int = 0  # proposals that were drawn without a model
    unfollowed_why: str | None = None  # why the newest of these was
    expected: dict[int, float] = field(default_factory=dict)  # by task without a result: the gain that a model predicted
    foretold: deque[Foretold] = field(default_factory=lambda: deque(maxlen=PERSISTENCE_PAIRS))

    def foretell(self, id: int, forecast: Forecast) -> None:
        """Adds what a model expected of a task, or that no model chose its numbers."""
        if forecast.source == "redraw":
            self.unfollowed += 1
            self.unfollowed_why = forecast.fallback
        elif forecast.source == "model":
            self.followed += 1
            if forecast.gain is not None:
                self.expected[id] = forecast.gain

    def issue(self, known: Mapping[int, Known], id: int, previous: int) -> None:
        """Adds a task; `previous` is the task that its seat had before, -1 for none."""
        task = known[id]
        if task.role == "control":
            self.controls.add(task.member)
        if task.role:  # only members are compared, as in `tell`; a log may have a role that this version does not know
            return
        if task.parent is not None and known[task.parent].role == "candidate":  # a student becomes a member: not a copy
            self._descend(task.member, task.founder)
            self.held[task.member] = known[task.parent].score
            return
        if task.parent is not None and task.parent == previous:
            self.decisions += task.steps > 0
            if task.hparams == known[task.parent].hparams:  # a donor that explores as well makes no pair
                self.own[task.parent] = id
            return
        self._descend(task.member, task.founder)
        if task.source is not None:
            self.furthest = max(self.furthest, known[task.source].end)
        if task.parent is not None:
            self._copied(known, id, task.parent, previous)

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

    def _copied(self, known: Mapping[int, Known], id: int, parent: int, previous: int) -> None:
        """Adds a copy. In an asynchronous run, the donor may itself still hold an older task of this very seat."""
        task = known[id]
        if task.steps > 0 and previous >= 0 and known[previous].ok:
            self.decisions += 1
            self.replaced += 1
        if previous >= 0 and known[previous].ok:
            self.back += max(0, known[previous].end - known[parent].end)
        if task.member in self.held:
            score = known[parent].score
            self.selection += score - self.held[task.member]
            self.held[task.member] = score
        if task.hparams != known[parent].hparams:
            self.clones.setdefault(parent, []).append(id)

    def tell(self, known: Mapping[int, Known], id: int, sign: int) -> None:
        """Adds a healthy result; `sign` is -1 if the user minimises."""
        task = known[id]
        seat = task.member
        predicted = self.expected.pop(id, None)
        if task.role or seat in self.controls:
            return
        self.first.setdefault(seat, task.score)
        self.held[seat] = task.score
        self.furthest = max(self.furthest, task.end)
        if task.parent is None or task.steps == 0:
            return
        parent = known[task.parent]
        if predicted is not None and parent.ok:
            self.foretold.append((predicted, sign * (task.score - parent.score), task.end))
        if parent.member == seat:
            self.lasting.append((parent.score, task.score, task.end))
        if task.parent in self.clones:
            self._pair(known, id, task.parent, sign)

    def _pair(self, known: Mapping[int, Known], id: int, parent: int, sign: int) -> None:
        """Compares a clone with its donor, one interval after the copy, when the later of the two is reported."""
        own, clones = self.own.get(parent), self.clones[parent]
        self.reported.add(id)
        if own is None or own not in self.reported:
            return
        for clone in [clone for clone in clones if clone in self.reported] if id == own else [id]:
            if clone in clones and known[clone].steps == known[own].steps:
                difference = sign * (known[clone].score - known[own].score)
                self.pairs += 1
                self.better += difference > 0
                self.worse += difference < 0

    def diversity(self) -> None:
        """Notes the diversity after a line of decisions, if it changed."""
        seats = len(self.roots)
        if not seats:
            return
        effective = seats * seats / self.squares
        if not self.history or self.history[-1].effective != effective:
            self.history.append(Diversity(self.furthest, sum(count > 0 for count in self.shares.values()), effective))


def common_ancestor(known: Mapping[int, Known], ids: Iterable[int]) -> int | None:
    """Returns the newest task that all of `ids` descend from; None if there is none."""
    heap = list({-id for id in ids})
    heapify(heap)
    inside = set(heap)
    while len(heap) > 1:  # the newest task cannot be an ancestor of the others
        source = known[-heappop(heap)].source
        if source is None:
            return None
        if -source not in inside:
            inside.add(-source)
            heappush(heap, -source)
    return -heap[0] if heap else None
