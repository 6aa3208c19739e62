"""A glance at a run while it goes on: how far it is, how good, and how long it still takes.

It is made twice a second on a thread of its own, so it reads columns and remembers what it has counted. `views.status` has all
the details.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poptrain.core import History, clock
from poptrain.core.interval import Seconds
from poptrain.engine import stop as stops
from poptrain.engine.experiment import Experiment
from poptrain.executors import kind_of
from poptrain.views.format import clean, copies_line, short, span

DOING = {  # before the first result, by executor
    "processes": "worker processes start and train their first tasks",
    "vectorized": "the program is compiled and trains all members for one interval",
    "ray": "Ray starts its workers, which train their first tasks",
}


@dataclass(frozen=True)
class Glance:
    """What one line about a run can tell. Scores have the user's sign."""

    elapsed: float  # seconds, over all sessions
    share: float | None  # of the run that is done, from 0 to 1; None: its end is not known in advance
    step: int  # that every member has reached
    budget: int | None
    metric: str
    now: float | None  # best score of the members' newest results
    best: float | None  # highest score of the whole run; `run.best`, by evidence, is chosen when the run ends
    member: int | None  # that reached it
    results: int
    copies: int
    last_copy: tuple[int, int] | None  # the member that copied, and the one that it copied
    failures: int
    left: float | None  # seconds
    mode: str = "max"
    doing: str = ""  # what the run waits for before its first result

    @property
    def extreme(self) -> str:
        """What `best` is in the user's sign."""
        return "lowest" if self.mode == "min" else "highest"

    def line(self, columns: int | None = None) -> str:
        """Returns the glance as text, at most `columns` wide: the parts that matter least are left out."""
        score = f"no score yet: {self.doing}" if self.doing else "no score yet"
        if self.best is not None:
            score = f"{clean(self.metric, 30)} {short(self.now, 5)}, {self.extreme} {short(self.best, 5)} (member {self.member})"
        parts = [
            (1, span(self.elapsed)),
            (3, "" if self.share is None else f"{100 * self.share:.0f} %"),
            (4, f"step {self.step:,}" + ("" if self.budget is None else f" of {self.budget:,}")),
            (0, score),
            (5, "0 copies" if self.last_copy is None else copies_line(self.copies, *self.last_copy)),
            (2, f"{self.failures:,} failed" if self.failures else ""),
            (1, "" if self.left is None else f"about {span(self.left)} left"),
        ]
        kept = [(weight, text) for weight, text in parts if text]
        while columns is not None and len(kept) > 1 and len(_joined(kept)) > columns:
            kept.remove(max(kept))
        return _joined(kept)[:columns]


class Watch:
    """Looks at a run again and again.

    Args:
        before: seconds of the sessions before this one.
    """

    def __init__(self, experiment: Experiment, before: float):
        self.experiment = experiment
        self._began = clock.monotonic() - before
        self._seen, self._copies = 0, 0
        self._last: tuple[int, int] | None = None
        self._doing = DOING.get(kind_of(experiment.executor), "")
        self._earlier: int | None = None if before else 0  # intervals that earlier sessions trained
        self._start: tuple[float, float] | None = None  # time and steps when every seat had trained: it runs at full speed

    def look(self, history: History, failures: int) -> Glance:
        """Returns what a history shows now."""
        self._count_copies(history)
        elapsed = clock.monotonic() - self._began
        seats, steps = self._steps(history)
        results = int((history.column("told") < history.lines).sum())
        share, left = self._ahead(history, elapsed, seats, float(steps.sum()))
        best, newest = history.best(), [history.score(int(id)) for id in history.standing() if history.ok(int(id))]
        return Glance(
            elapsed=elapsed,
            share=share,
            step=int(steps.min()) if seats else 0,
            budget=history.budget,
            metric=self.experiment.metric,
            now=history.sign * max(newest) if newest else None,
            best=None if best is None else history.sign * history.score(best),
            member=None if best is None else history.task(best).member,
            results=results,
            copies=self._copies,
            last_copy=self._last,
            failures=failures,
            left=left,
            mode=self.experiment.mode,
            doing="" if results else self._doing,
        )

    def note(self, history: History) -> None:
        """Notes when every member has trained an interval in this session: from there on the time that is left is estimated.

        What compiles, compiles in the first interval; an evaluation before training, as PB2 has it, does not.
        """
        if self._start is None:
            seats, steps = self._steps(history)
            trained = int(((history.column("told") < history.lines) & (history.column("steps") > 0)).sum())
            self._earlier = trained if self._earlier is None else self._earlier
            if seats and trained - self._earlier >= seats:
                self._start = clock.monotonic(), float(steps.sum())

    def _count_copies(self, history: History) -> None:
        for id in range(self._seen, history.n):
            task = history.task(id)
            if task.parent is None or task.evaluator:
                continue
            if task.donor is not None or history.task(task.parent).member != task.member:
                self._copies, self._last = self._copies + 1, (task.member, history.donor(id))
        self._seen = history.n

    def _steps(self, history: History) -> tuple[int, np.ndarray]:
        """Returns the number of members, and the steps that each has trained, at most the budget; shape (members,)."""
        heads = history.heads()[history.members()]
        told = history.column("told")[heads] < history.lines
        source = np.maximum(history.column("parent")[heads], history.column("teacher")[heads])
        at = np.where(told, heads, source)
        steps = np.where(at >= 0, history.column("step")[at], 0) if history.n else np.zeros(0)
        return len(heads), np.minimum(steps, np.inf if history.budget is None else history.budget)

    def _ahead(self, history: History, elapsed: float, seats: int, done: float) -> tuple[float | None, float | None]:
        """Returns the share of the run that is done, and the seconds that are left: until the budget, or the time limit."""
        now = clock.monotonic()
        self.note(history)
        shares: list[float] = []
        left: list[float] = []
        if history.budget is not None and seats:
            whole = float(history.budget * seats)
            shares.append(done / whole)
            if self._start is not None and done > self._start[1]:
                left.append((whole - done) * (now - self._start[0]) / (done - self._start[1]))
        if (limit := _seconds(self.experiment.stop)) is not None:
            shares.append(elapsed / limit)
            left.append(max(limit - elapsed, 0.0))
        return min(max(shares), 1.0) if shares else None, min(left, default=None)


def _seconds(stop: stops.Stop | None) -> float | None:
    """Returns the time limit of a stop condition; None without one."""
    if isinstance(stop, stops.AnyOf):
        return min((limit for each in stop.conditions if (limit := _seconds(each)) is not None), default=None)
    return stop.seconds if isinstance(stop, Seconds) else None


def _joined(parts: list[tuple[int, str]]) -> str:
    return " · ".join(text for _, text in parts)
