"""Where hyperparameters act in a live `Trainer`: the optimiser that steps, its schedule, the data loader, the arguments.

A name that `make` reads is used as `make` uses it. Of the others, these are set in the trainer's arguments, before it makes its
optimiser: ``lr``, ``batch_size``, ``beta1``, ``beta2``, ``eps``, and the arguments in `LATE`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import Trainer

from poptrain.integrations.adapter import Place, flattened
from poptrain.integrations.torch.fresh import optimizer_places

ALIASES = {
    "lr": "learning_rate",
    "batch_size": "per_device_train_batch_size",
    "beta1": "adam_beta1",
    "beta2": "adam_beta2",
    "eps": "adam_epsilon",
}
LATE = (*ALIASES.values(), "weight_decay", "max_grad_norm", "warmup_steps", "lr_scheduler_type")  # that a trainer reads late
COUNTERS = ("_total_train_tokens",)
OPTIONS = {"learning_rate": "lr", "adam_epsilon": "eps", "adam_beta1": "beta1", "adam_beta2": "beta2"}  # of the optimiser


def counters(trainer: Trainer) -> dict[str, object]:
    """Returns what a trainer counts outside of its state, such as the tokens of TRL's trainers."""
    return {name: getattr(trainer, name) for name in COUNTERS if hasattr(trainer, name)}


def apply_late(trainer: Trainer, hp: Mapping[str, object], read: set[str]) -> None:
    """Sets the arguments of a new trainer that hyperparameters name and that `make` did not read."""
    for name, value in flattened(hp):
        argument = ALIASES.get(name, name)
        if name not in read and argument in LATE:
            setattr(trainer.args, argument, value)
    trainer._train_batch_size = trainer.args.train_batch_size  # the trainer took it when it was made


def optimizer_of(trainer: Trainer) -> Optimizer:
    """Returns the optimiser itself; Accelerate wraps it."""
    wrapped: Any = trainer.optimizer
    inner: Optimizer = getattr(wrapped, "optimizer", wrapped)
    return inner


def schedulers_of(trainer: Trainer) -> list[LRScheduler]:
    """Returns the schedule itself; Accelerate wraps it. [] before the first training, unless `make` has passed one."""
    scheduler = getattr(trainer.lr_scheduler, "scheduler", trainer.lr_scheduler)
    return [] if scheduler is None else [scheduler]


def places(trainer: Trainer, hp: Mapping[str, object], loader: Any) -> Iterator[Place]:
    """Yields the places of the live trainer that hyperparameters name.

    Args:
        loader: the data loader that training uses; None before the first interval.
    """
    for name, _ in flattened(hp):
        argument = ALIASES.get(name, name)
        option = OPTIONS.get(argument, argument)
        if trainer.optimizer is not None:
            yield from optimizer_places(optimizer_of(trainer), name, option, schedulers=schedulers_of(trainer))
        if argument == "per_device_train_batch_size":
            held = trainer.args.per_device_train_batch_size if loader is None else batch_size(loader)
            yield Place(name, "train_dataloader.batch_size", held)
        elif hasattr(trainer.args, argument) and argument not in OPTIONS:
            yield Place(name, f"args.{argument}", getattr(trainer.args, argument))
        config = getattr(trainer.model, "config", None)
        if hasattr(config, name):
            yield Place(name, f"model.config.{name}", getattr(config, name))


def batch_size(loader: Any) -> object:
    """Returns the rows of a batch of a data loader that Accelerate may have wrapped."""
    sampler = getattr(loader, "batch_sampler", None)
    return getattr(sampler, "batch_size", None) or getattr(loader, "batch_size", None)
