"""Where a hyperparameter of an optimiser lives: it is set there, and read back from the live object.

Names. A hyperparameter that is named like an option of a parameter group (``lr``, ``weight_decay``, ``momentum`` …) is set in
every group; ``beta1`` and ``beta2`` are the two ``betas``. ``head.lr`` is for the group, or the optimiser's attribute, called
``head``; ``actor.head.lr`` is for that group of that optimiser. Under a learning rate scheduler ``lr`` is the base rate: what
the scheduler has made of it is kept as a factor. A name that matches no option is left to the user's own code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any, Protocol, TypeGuard

import torch
from torch.optim import Optimizer

from poptrain.core.errors import UsageError

BETA_PLACES = {"beta1": 0, "beta2": 1}  # their places in the option ``betas``

Group = dict[str, Any]  # a parameter group of PyTorch: its options by name


class RateScheduler(Protocol):
    """What is used of a learning rate scheduler that knows the rates it started from."""

    base_lrs: list[float]
    optimizer: Optimizer


Optimizers = Optimizer | Mapping[str, Optimizer]
Schedulers = RateScheduler | Sequence[RateScheduler]


def apply_hparams(optimizers: Optimizers, hparams: Mapping[str, object], schedulers: Schedulers = ()) -> dict[str, object]:
    """Sets hyperparameters in the parameter groups and returns what the live optimisers then hold, by full name.

    Args:
        optimizers: one optimiser, or a mapping of names to optimisers.
        hparams: by name, flat or nested; see the module.
        schedulers: the learning rate schedulers of these optimisers.

    Raises:
        UsageError: an optimiser holds another value afterwards.
    """
    wanted = {}
    for place in _places(optimizers, hparams, schedulers):
        place.set()
        wanted[place.name] = place.value
    held = read_hparams(optimizers, hparams, schedulers)
    for name, value in wanted.items():
        if not same_value(held[name], value):
            raise UsageError(f"{name} was set to {value!r}, but the optimiser holds {held[name]!r}.")
    return held


def read_hparams(optimizers: Optimizers, hparams: Mapping[str, object], schedulers: Schedulers = ()) -> dict[str, object]:
    """Returns what the live optimisers hold for each hyperparameter that they know, by full name (``optimizer[0].lr``)."""
    return {place.name: place.get() for place in _places(optimizers, hparams, schedulers)}


def same_value(held: object, wanted: object) -> bool:
    """True if an optimiser holds the value that was set; a tensor may hold it in single precision."""
    if isinstance(held, float) and isinstance(wanted, (int, float)):
        return isclose(held, wanted, rel_tol=1e-6, abs_tol=1e-45)
    return held == wanted


def is_rate_scheduler(value: object) -> TypeGuard[RateScheduler]:
    """True for a learning rate scheduler that knows its base rates."""
    return hasattr(value, "base_lrs") and hasattr(value, "optimizer")


@dataclass(frozen=True)
class _Place:
    """One option of one parameter group, and the value that one hyperparameter has for it."""

    name: str  # full: ``optimizer[0].lr``
    group: Group
    option: str
    value: Any  # the user's own
    base: _BaseRate | None  # where the base rate is, if a scheduler computes the group's rate from it

    def get(self) -> object:
        if self.base is not None:
            return self.base.get()
        if self.option in BETA_PLACES:
            return self.group["betas"][BETA_PLACES[self.option]]
        held = self.group[self.option]
        return held.item() if isinstance(held, torch.Tensor) else held

    def set(self) -> None:
        if self.base is not None:
            self.base.set(self.group, self.value)
        elif self.option in BETA_PLACES:
            betas = list(self.group["betas"])
            betas[BETA_PLACES[self.option]] = self.value
            self.group["betas"] = tuple(betas)
        else:
            _put(self.group, self.option, self.value)


@dataclass(frozen=True)
class _BaseRate:
    """The rate from which a scheduler computes the rate of one parameter group."""

    scheduler: RateScheduler
    index: int  # of the group

    def get(self) -> float:
        return float(self.scheduler.base_lrs[self.index])

    def set(self, group: Group, value: float) -> None:
        """Sets the base rate; what the scheduler has made of the old one is kept as a factor."""
        base, now = self.get(), group["lr"]
        factor = float(now) / base if base else 1.0
        self.scheduler.base_lrs[self.index] = value
        _put(group, "initial_lr", value)
        _put(group, "lr", value * factor)
        if (last := getattr(self.scheduler, "_last_lr", None)) is not None:
            last[self.index] = value * factor


def _put(group: Group, option: str, value: Any) -> None:
    held = group.get(option)
    if isinstance(held, torch.Tensor):
        held.fill_(value)  # a captured graph refers to the tensor, so the tensor itself must stay
    else:
        group[option] = value


def _places(optimizers: Optimizers, hparams: Mapping[str, object], schedulers: Schedulers) -> Iterator[_Place]:
    """Yields every place that one of the hyperparameters is for."""
    named = optimizers if isinstance(optimizers, Mapping) else {"optimizer": optimizers}
    listed: Sequence[RateScheduler] = schedulers if isinstance(schedulers, Sequence) else [schedulers]
    scheduled = {id(scheduler.optimizer): scheduler for scheduler in listed}
    flat = dict(_flattened(hparams))
    for owner, optimizer in named.items():
        scheduler = scheduled.get(id(optimizer))
        for index, group in enumerate(optimizer.param_groups):
            label = str(group.get("name", index))
            for option, value in _chosen(flat, owner, label, group).items():
                name = f"{owner}[{label}].{option}"
                base = _base_rate(name, group, scheduler, index) if option == "lr" else None
                yield _Place(name, group, option, value, base)


def _chosen(flat: Mapping[str, object], owner: str, label: str, group: Group) -> dict[str, object]:
    """Returns the options of a group that hyperparameters set, with their values; the most specific name wins."""
    chosen: dict[str, tuple[int, object]] = {}
    for path, value in flat.items():
        *where, option = path.split(".")
        known = (option in group and option != "params") or (option in BETA_PLACES and "betas" in group)
        if known and where in ([], [label], [owner], [owner, label]) and len(where) >= chosen.get(option, (0, None))[0]:
            chosen[option] = (len(where), value)
    return {option: value for option, (_, value) in chosen.items()}


def _base_rate(name: str, group: Group, scheduler: RateScheduler | None, index: int) -> _BaseRate | None:
    if scheduler is None:
        return None
    if "max_lr" in group or hasattr(scheduler, "max_lrs"):
        raise UsageError(f"{name} is set by a {type(scheduler).__name__}, which has no base rate: tune max_lr instead.")
    return _BaseRate(scheduler, index)


def _flattened(hparams: Mapping[str, object], path: str = "") -> Iterator[tuple[str, object]]:
    for name, value in hparams.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value
