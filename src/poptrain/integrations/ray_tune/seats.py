"""A seat: one trial, the task that it works on, and what it has reported of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ray.tune.experiment import Trial

from poptrain.core import Hparams, Result, Task
from poptrain.integrations.ray_tune.checkpoints import numbers


class Phase(Enum):
    """What a seat is doing."""

    WAITING = "has no task: at a barrier, or an evaluator without a target"
    QUEUED = "has a task that its trial has not begun"
    TRAINING = "works on its task"
    SAVING = "has done its task and writes the checkpoint"
    GONE = "its trial has ended, and gets no task any more"


@dataclass
class Seat:
    """One member of the population."""

    number: int
    trial: Trial
    config: dict[str, Any]  # as the user gave it: whoever descends from this seat's first weights has its other keys
    phase: Phase = Phase.WAITING
    task: Task | None = None
    start: int = 0  # step of the task's parent
    holds: int | None = None  # the task whose outcome the trial's live weights are
    hparams: Hparams | None = None  # what the live trial was configured with
    failures: int = 0  # in a row
    why: str = "its trial has ended"  # that it is gone
    curve: list[tuple[int, float]] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)  # the newest report on the task
    seconds: float = 0.0  # that its reports took
    before: Any = None  # the trial's newest checkpoint at that moment

    @property
    def due(self) -> int:
        """The step at which the task is done."""
        return self.start + self.task.steps

    def begin(self, task: Task, start: int) -> None:
        """Takes a task on."""
        self.task, self.start, self.phase = task, start, Phase.QUEUED
        self.curve, self.last, self.seconds = [], {}, 0.0

    def report(self, step: int, score: float, result: dict[str, Any]) -> None:
        """Takes in one report; a recovered trial reports again what it repeats."""
        while self.curve and self.curve[-1][0] >= step:
            self.curve.pop()
        self.curve.append((step, score))
        self.last, self.phase = result, Phase.TRAINING
        self.seconds += result.get("time_this_iter_s", 0.0)

    def done(self, checkpoint: str | None, returns: str | None = None) -> Result:
        """Returns the result of the task, after its last report."""
        step, score = self.curve[-1] if self.curve else (self.start, float("nan"))
        found = self.last.get(returns) if returns else None
        return self._told(
            Result(
                self.task.id,
                score,
                step,
                tuple(self.curve),
                returns=() if found is None else tuple(map(float, found)),
                metrics=numbers(self.last),
                checkpoint=checkpoint,
                seconds=self.seconds,
            )
        )

    def failed(self, error: str) -> Result:
        """Returns the failure of the task."""
        step = self.curve[-1][0] if self.curve else self.start
        return self._told(Result(self.task.id, float("nan"), step, error=error))

    def _told(self, result: Result) -> Result:
        self.holds = result.task if result.error is None else None
        self.task, self.phase = None, Phase.WAITING
        return result

    def leave(self, why: str) -> None:
        """Marks the seat as ended for good."""
        self.phase, self.why = Phase.GONE, why


def failure(trial: Trial) -> str:
    """Returns one line about why a trial failed, from the file that Ray keeps of it."""
    try:
        with open(trial.error_file) as file:
            lines = [line.strip() for line in file if line.strip()]
    except (OSError, TypeError):
        return "the trial failed"
    return lines[-1][:500] if lines else "the trial failed"
