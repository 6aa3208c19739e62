"""The callback of one interval: it puts values right when training begins, and ends training after some steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class Interval(TrainerCallback):
    """Ends training at a step, with a checkpoint of the trainer.

    Args:
        begun: is called when the trainer has loaded its checkpoint, with the data loader.
    """

    def __init__(self, begun: Callable[[Any], None]):
        self.until = 0
        self._begun = begun

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **live: Any) -> None:
        self._begun(live.get("train_dataloader"))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **live: Any) -> None:
        if state.global_step >= self.until:
            control.should_training_stop = control.should_save = True
