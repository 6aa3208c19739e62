"""The callback of one interval: it puts values right when training begins, and ends training after some epochs."""

from __future__ import annotations

from collections.abc import Callable

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from poptrain.integrations.torch.fresh import FreshOptimizer


class Epochs(Callback):
    """Ends training after a number of epochs in all.

    The trainer makes its optimisers, then restores their state, then trains: between the first two this callback notes the
    options that the values of the member gave them, and before the third it puts them back.

    Args:
        begun: is called when all is in place, before the first batch.
    """

    def __init__(self, until: int, kinds: list[str], begun: Callable[[Trainer], None]):
        self.until, self.made = until, list[FreshOptimizer]()
        self._kinds, self._begun = kinds, begun

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.made = [FreshOptimizer.of(optimizer, _schedulers(trainer, optimizer)) for optimizer in trainer.optimizers]
        for made, kind in zip(self.made, self._kinds, strict=False):
            made.check_kind(kind)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        for made, optimizer in zip(self.made, trainer.optimizers, strict=True):
            made.put_into(optimizer, _schedulers(trainer, optimizer))
        self._begun(trainer)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.current_epoch + 1 >= self.until:
            trainer.should_stop = True


def _schedulers(trainer: Trainer, optimizer: Optimizer) -> list[LRScheduler]:
    found = [config.scheduler for config in trainer.lr_scheduler_configs]
    return [each for each in found if each.optimizer is optimizer]
