"""What Ray does not report to a scheduler: that it has ended trials by itself, all of them at once.

A time budget, a stopper of the whole experiment and ``fail_fast`` end trials without a call. And when all trials have failed at
the same time, Ray would end the experiment before the scheduler can start them again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ray import tune

if TYPE_CHECKING:
    from ray.tune.experiment import Trial


class Closing(tune.Callback):
    """Calls a function after every step of Ray's controller at which no trial is left that trains or waits."""

    def __init__(self, ended: Callable[[], None]):
        self._ended = ended

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Checks the trials."""
        if all(trial.is_finished() for trial in trials):
            self._ended()
