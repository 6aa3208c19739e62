"""What trackers draw: the lines of a record as points on axes that never run backwards.

Trackers expect steps that only grow. The steps of a lineage do not: a member that copies another one takes over the donor's
steps, which in an asynchronous run may be fewer than its own. So a member's axis is *the steps trained on its seat*,
whatever became of the weights, and the population's axis is the steps trained by all members together. A member's step
along its lineage is a series of its own, ``lineage/step``.

Every point is a pure function of one log line, its time included: writing a point twice writes the same point.
"""

from __future__ import annotations

import hashlib
import json
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard
from uuid import uuid4
from weakref import WeakKeyDictionary

from poptrain.core import Hparams, Result, Task, Value
from poptrain.log.reader import Record
from poptrain.views.index import space_of
from poptrain.views.state import RunState

OURS = ("lineage/step", "lineage/donor", "lineage/donor_name", "time/seconds", "failures")
TAKEN = frozenset((*OURS, "_step", "_timestamp", "_runtime", "_wandb"))  # names that a metric cannot have; the last are W&B's


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """One value of one series."""

    line: int  # of the record, counted from 0
    member: int | None  # None: the population
    name: str
    value: float  # scores have the user's sign; may be NaN or infinite
    step: int  # on the axis of the member or of the population
    time: float  # seconds since 1970


class PointReader:
    """A reader of one record, with a state of its own, because it may live on another thread than the run."""

    def __init__(self, record: Record):
        self.state = RunState.begin(record)
        self.metric = str(record.run.get("metric", "score"))
        self.lines = 0  # read so far
        self.donors: dict[int | None, list[str]] = {}  # by member, the copies that it has made, in words
        self._space = space_of(record)

    def read_on(self, record: Record) -> list[SeriesPoint]:
        """Returns the points of the lines that the record has gained."""
        points: list[SeriesPoint] = []
        for number in range(self.state.lines, min(len(record.lines), len(record.times))):
            line, time = record.lines[number], record.times[number]
            for fact in line:
                if isinstance(fact, Task):
                    points += self._began(fact, number, time)
                elif isinstance(fact, Result):
                    points += self._ended(fact, number, time)
            before = self._standing()
            self.state.take(line, time)
            after = self._standing()
            steps = self.state.steps
            points += [
                SeriesPoint(number, None, name, value, steps, time) for name, value in after.items() if before.get(name) != value
            ]
            self.lines = number + 1
        return points

    def option(self, name: str, value: object) -> float | None:
        """Returns a hyperparameter as a number: its value, or its index among the options if they are not all numbers."""
        options = self._space.get(name, {}).get("options")
        if options is not None and not all(_is_number(option) for option in options):
            places = [place for place, option in enumerate(options) if option == value and type(option) is type(value)]
            return float(places[0]) if places else None
        return float(value) if isinstance(value, (int, float)) else None

    def cells(self, hparams: Hparams) -> dict[str, float | str | bool]:
        """Returns hyperparameters as the cells of a table that knows numbers, texts and booleans, one type for each column.

        A column is text if its options are not all numbers or all booleans: None becomes ``None``.
        """
        return {name: value if self._one_type(name, value) else str(value) for name, value in hparams.items()}

    def _one_type(self, name: str, value: Value) -> TypeGuard[float | str | bool]:
        options = [value, *(self._space.get(name, {}).get("options") or ())]
        return all(isinstance(each, bool) for each in options) or all(_is_number(each) for each in options)

    @cached_property
    def options(self) -> dict[str, str]:
        """What the indices of hyperparameters that are not numbers mean, by name: ``0=relu 1=tanh``."""
        listed = {name: about.get("options") for name, about in self._space.items()}
        return {
            name: " ".join(f"{place}={option}" for place, option in enumerate(options))
            for name, options in listed.items()
            if options is not None and not all(_is_number(option) for option in options)
        }

    def _axis(self, member: int) -> int:
        return self.state.seats[member].spent if member in self.state.seats else 0

    def _began(self, task: Task, line: int, time: float) -> list[SeriesPoint]:
        step = self._axis(task.member)
        named = {f"hparams/{name}": self.option(name, value) for name, value in task.hparams.items()}
        parent = None if task.parent is None else self.state.known[task.parent]
        if parent is not None and parent.member != task.member:
            named["lineage/donor"] = float(parent.member)
            self.donors.setdefault(task.member, []).append(f"step {step}: member {parent.member}")
            named["lineage/step"] = float(parent.end)
        return [SeriesPoint(line, task.member, name, value, step, time) for name, value in named.items() if value is not None]

    def _ended(self, result: Result, line: int, time: float) -> list[SeriesPoint]:
        task = self.state.known[result.task]
        start, begin = self._axis(task.member), task.begin
        end = start + result.step - begin

        def point(name: str, value: float, step: int = end) -> SeriesPoint:
            return SeriesPoint(line, task.member, name, float(value), step, time)

        if result.kind == "ended":  # a trial that ended by itself did not fail
            return []
        if result.error is not None:
            return [point("failures", self.state.seats[task.member].failures + 1)]
        curve = result.curve or ((result.step, result.score),)
        points = [point(self.metric, score, start + int(step) - begin) for step, score in curve]
        points += [point(series_of(name), value) for name, value in result.metrics.items()]
        return [*points, point("lineage/step", result.step), point("time/seconds", result.seconds)]

    def _standing(self) -> dict[str, float]:
        """Returns the series of the population; a point is drawn when one changes."""
        state = self.state
        now = {"population/exploits": float(state.exploits), "population/failures": float(state.failed + state.diverged)}
        if state.best is not None:
            now[f"best/{self.metric}"] = state.known[state.best].score
            now["best/member"] = float(state.known[state.best].member)
        return now


def series_of(metric: str) -> str:
    """Returns the name of the series of a user's metric: ``metrics/…`` if poptrain or a tracker has another use for the name."""
    return f"metrics/{metric}" if metric in TAKEN or metric.startswith("hparams/") else metric


_in_memory: WeakKeyDictionary[Record, str] = WeakKeyDictionary()


def identity(record: Record) -> str:
    """Returns 16 hex digits that identify this run, the same whenever and wherever its log is read."""
    if record.directory is None:
        return _in_memory.setdefault(record, uuid4().hex[:16])
    opened = next((event for event in record.events if event[0] == "open"), None)
    return hashlib.sha256(json.dumps([record.run, opened], sort_keys=True).encode()).hexdigest()[:16]


def snapshot(record: Record) -> Record:
    """Returns a copy that does not grow, for views that are made on another thread than the run's."""
    other = copy(record)
    other.times, other.events = list(record.times), list(record.events)
    other.lines = record.lines[: len(other.times)]
    return other


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
