"""What Ray does not report to a scheduler: that no trial is left.

A time budget, a stopper of the whole experiment and ``fail_fast`` end trials without a call, and when all trials have failed, Ray
asks for no decision any more. The run log is to be closed in all these cases.
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
