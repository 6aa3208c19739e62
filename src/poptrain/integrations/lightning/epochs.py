"""The callback of one interval: it puts values right when training begins, and ends training after some epochs."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, isfinite

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from poptrain.integrations.torch.fresh import FreshOptimizer
from poptrain.integrations.torch.rates import steps_of


class Epochs(Callback):
    """Ends training after a number of epochs in all.

    The trainer makes its optimisers, then restores their state, then trains: between the first two this callback notes the
    options that the values of the member gave them, and before the third it puts them back.

    A schedule that is stepped in every batch goes on at the same part of the training if an epoch now has another number of
    steps, as with another batch size: it is where it would be if this member had trained the epochs before.

    Args:
        until: epochs of the whole lineage at the end of this interval.
        kinds: of the optimisers in the checkpoint.
        steps: of the optimiser in an epoch of the parent; None: unknown.
        begun: is called when all is in place, before the first batch.
    """

    def __init__(self, until: int, kinds: list[str], steps: int | None, begun: Callable[[Trainer], None]):
        self.until, self.made, self.steps = until, list[FreshOptimizer](), steps
        self._kinds, self._begun = kinds, begun

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.made = [FreshOptimizer.of(optimizer, _schedulers(trainer, optimizer)) for optimizer in trainer.optimizers]
        for made, kind in zip(self.made, self._kinds, strict=False):
            made.check_kind(kind)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        before, self.steps = self.steps, _steps_of_an_epoch(trainer)
        for made, optimizer in zip(self.made, trainer.optimizers, strict=True):
            made.put_into(optimizer, _schedulers(trainer, optimizer), self._moved(trainer, optimizer, before))
        self._begun(trainer)

    def _moved(self, trainer: Trainer, optimizer: Optimizer, before: int | None) -> dict[int, int]:
        """Returns the new positions of the schedules that batches move, by index, if an epoch had another number of steps."""
        if not before or not self.steps or before == self.steps:
            return {}
        configs = [each for each in trainer.lr_scheduler_configs if each.scheduler.optimizer is optimizer]
        return {
            index: round(steps_of(config.scheduler.state_dict()) * self.steps / before)
            for index, config in enumerate(configs)
            if config.interval == "step" and not isinstance(config.scheduler, ReduceLROnPlateau)
        }

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.current_epoch + 1 >= self.until:
            trainer.should_stop = True


def _steps_of_an_epoch(trainer: Trainer) -> int | None:
    batches = trainer.num_training_batches
    return ceil(batches / trainer.accumulate_grad_batches) if isfinite(batches) else None


def schedulers_of(trainer: Trainer) -> list[LRScheduler]:
    """Returns the schedules that a trainer steps."""
    return [config.scheduler for config in trainer.lr_scheduler_configs]


def _schedulers(trainer: Trainer, optimizer: Optimizer) -> list[LRScheduler]:
    return [each for each in schedulers_of(trainer) if each.optimizer is optimizer]
