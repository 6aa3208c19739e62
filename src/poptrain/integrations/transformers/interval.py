"""The callback of one interval: it puts values right when training begins, and ends training after some steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from transformers import DefaultFlowCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

EVENTS = [name for name in vars(TrainerCallback) if name.startswith("on_")]


class Interval(TrainerCallback):
    """Ends training at a step, with a checkpoint of the trainer, and notes the event in which something else has ended it.

    Args:
        begun: is called when the trainer has loaded its checkpoint, with the data loader.
    """

    def __init__(self, begun: Callable[[Any], None]):
        self.until = 0
        self.ended_in: str | None = None  # the event in which a callback has stopped the training
        self._begun = begun

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **live: Any) -> None:
        self.ended_in = None
        self._begun(live.get("train_dataloader"))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **live: Any) -> None:
        self.look("on_step_end", control)
        if state.global_step >= self.until:
            control.should_training_stop = control.should_save = True

    def look(self, event: str, control: TrainerControl) -> None:
        """Notes the event if it is the first one after which the training is to stop."""
        if control.should_training_stop and self.ended_in is None:
            self.ended_in = event

    def suspects(self, callbacks: Iterable[TrainerCallback]) -> list[str]:
        """Returns the names of the callbacks that act in the event in which the training was stopped."""
        event = self.ended_in or ""
        others = [type(each) for each in callbacks if not isinstance(each, (Interval, DefaultFlowCallback))]
        return [kind.__name__ for kind in others if getattr(kind, event, None) is not getattr(TrainerCallback, event, None)]


def _looking(event: str) -> Callable[..., None]:
    def look(self: Interval, args: TrainingArguments, state: TrainerState, control: TrainerControl, **live: Any) -> None:
        self.look(event, control)

    return look


for _event in EVENTS:
    if _event not in vars(Interval):
        setattr(Interval, _event, _looking(_event))
