"""A seat: one trial, the task that it works on, and what it has reported of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ray.tune.experiment import Trial

from poptrain.core import Hparams, Result, Task
from poptrain.core.facts import Kind
from poptrain.integrations.ray_tune.checkpoints import numbers
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

    @property
    def working(self) -> Task:
        """The task that the seat works on; only asked for while there is one."""
        assert self.task is not None
        return self.task

    @property
    def due(self) -> int:
        """The step at which the task is done."""
        return self.start + self.working.steps

    def begin(self, task: Task, start: int) -> None:
        """Takes a task on."""
        self.task, self.start, self.phase = task, start, Phase.QUEUED
        self.curve, self.last, self.seconds = [], {}, 0.0

    def report(self, step: int, score: float, report: Report) -> None:
        """Adds one report; a recovered trial reports again what it repeats."""
        while self.curve and self.curve[-1][0] >= step:
            self.curve.pop()
        self.curve.append((step, score))
        self.last, self.phase = report, Phase.TRAINING
        self.seconds += report.get("time_this_iter_s", 0.0)

    def done(self, checkpoint: str | None, returns: str | None = None) -> Result:
        """Returns the result of the task, after its last report; `returns` is the key of the episode returns in it."""
        step, score = self.curve[-1] if self.curve else (self.start, float("nan"))
        found = self.last.get(returns) if returns else None
        return self._finished(
            Result(
                self.working.id,
                score,
                step,
                tuple(self.curve),
                returns=() if found is None else tuple(map(float, found)),
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


def failure_text(trial: Trial) -> str:
    """Returns one line about why a trial failed, from the file in which Ray keeps its error."""
    try:
        with open(trial.error_file, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file if line.strip()]
    except (OSError, TypeError):
        return "the trial failed"
    return lines[-1][:500] if lines else "the trial failed"
