"""A seat: one trial, the task that it works on, and what it has reported of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from numbers import Real

from ray.tune.experiment import Trial
from ray.tune.utils.util import flatten_dict

from poptrain.core import Hparams, Result, Task
from poptrain.core.facts import Kind
from poptrain.integrations.ray_tune.configs import Config, Report
from poptrain.integrations.ray_tune.controller import StoredCheckpoint

ENDED = "its trial has ended"


class Phase(Enum):
    """What a seat is doing."""

    WAITING = "has no task: at a barrier, or an evaluator without a target"
    QUEUED = "has a task that its trial has not begun"
    TRAINING = "works on its task"
    SAVING = "has done its task and writes the checkpoint"
    GONE = "its trial has ended, and gets no more tasks"


@dataclass
class TrialSeat:
    """One member of the population."""

    number: int
    trial: Trial
    config: Config  # as the user gave it; all descendants of this seat's first weights keep its other keys
    phase: Phase = Phase.WAITING
    task: Task | None = None
    start: int = 0  # step of the task's parent
    holds: int | None = None  # the task whose outcome the trial's live weights are
    hparams: Hparams | None = None  # what the live trial was configured with
    failures: int = 0  # in a row
    why: str = ENDED  # the reason why it is gone
    why_kind: Kind = "ended"  # of the results that it still gets: "ended", or "failed" if failures were the reason
    curve: list[tuple[int, float]] = field(default_factory=list)
    last: Report = field(default_factory=dict)  # the newest report on the task
    seconds: float = 0.0  # that its reports took
    before: StoredCheckpoint | None = None  # the trial's newest checkpoint when the one of this task was requested
    kept: tuple[Hparams, ...] = ()  # values that a trial which keeps old ones would report: of the parent, and of the actor
    stamp: tuple[object, ...] = ()  # of the newest report on any task

    @property
    def working(self) -> Task:
        """The task that the seat works on; only asked for while there is one."""
        assert self.task is not None
        return self.task

    @property
    def due(self) -> int:
        """The step at which the task is done."""
        return self.start + self.working.steps

    def begin(self, task: Task, start: int, kept: tuple[Hparams, ...] = ()) -> None:
        """Takes a task on."""
        self.task, self.start, self.phase, self.kept = task, start, Phase.QUEUED, kept
        self.curve, self.last, self.seconds = [], {}, 0.0

    def report(self, step: int, score: float, report: Report) -> None:
        """Adds one report; a recovered trial reports again what it repeats."""
        while self.curve and self.curve[-1][0] >= step:
            self.curve.pop()
        self.curve.append((step, score))
        self.last, self.phase, self.stamp = report, Phase.TRAINING, _stamp(report)
        self.seconds += report.get("time_this_iter_s", 0.0)

    def knows(self, report: Report) -> bool:
        """True for the newest report, which Ray shows again when a trial ends without one of its own."""
        return _stamp(report) == self.stamp

    def done(self, checkpoint: str | None, returns: tuple[float, ...] = ()) -> Result:
        """Returns the result of the task, after its last report; `returns` are the episode returns in it."""
        if not self.curve:
            return self.without_result(ENDED, "ended")
        step, score = self.curve[-1]
        return self._finished(
            Result(
                self.working.id,
                score,
                step,
                tuple(self.curve),
                returns=returns,
                metrics=numbers(self.last),
                checkpoint=checkpoint,
                seconds=self.seconds,
            )
        )

    def without_result(self, error: str, kind: Kind = "failed") -> Result:
        """Returns the result of a task that has no score: it failed, or its trial has ended (`kind`)."""
        step = self.curve[-1][0] if self.curve else self.start
        return self._finished(Result(self.working.id, float("nan"), step, error=error, kind=kind))

    def _finished(self, result: Result) -> Result:
        self.holds = result.task if result.error is None else None
        self.task, self.phase = None, Phase.WAITING
        return result

    def leave(self, why: str = ENDED, kind: Kind = "ended") -> None:
        """Marks the seat as ended for good."""
        self.phase, self.why, self.why_kind = Phase.GONE, why, kind


def _stamp(report: Report) -> tuple[object, ...]:
    return tuple(report.get(key) for key in ("training_iteration", "time_total_s", "timestamp"))


def numbers(report: Report) -> dict[str, float]:
    """Returns the numbers of a report under their flat names, without the config and what Ray adds about the machine."""
    flat: Mapping[str, object] = flatten_dict(report)
    return {
        key: float(value)
        for key, value in flat.items()
        if isinstance(value, Real) and not isinstance(value, bool) and not key.startswith(("config/", "pid", "timestamp"))
    }


def failure_text(trial: Trial) -> str:
    """Returns one line about why a trial failed, from the file in which Ray keeps its error."""
    try:
        with open(trial.error_file, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file if line.strip()]
    except (OSError, TypeError):
        return "the trial failed"
    return lines[-1][:500] if lines else "the trial failed"
