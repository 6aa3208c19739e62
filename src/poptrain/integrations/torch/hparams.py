"""Where a hyperparameter of an optimiser lives: it is set there, and read back from the live object.

Names. A hyperparameter that is named like an option of a parameter group (``lr``, ``weight_decay``, ``momentum`` …) is set in
every group; ``beta1`` and ``beta2`` are the two ``betas``. ``head.lr`` is for the group, or the optimiser's attribute, called
``head``; ``actor.head.lr`` is for that group of that optimiser. Under a learning rate scheduler ``lr`` is the base rate, and the
rate follows it. A name that matches no option is left to the user's own code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from poptrain.core.errors import UsageError
from poptrain.integrations.adapter import flattened, same_value
from poptrain.integrations.torch.optimizers import Group, put_option
from poptrain.integrations.torch.rates import cycles, has_base, outermost, rebase

BETA_PLACES = {"beta1": 0, "beta2": 1}  # their places in the option ``betas``

Optimizers = Optimizer | Mapping[str, Optimizer]
Schedulers = LRScheduler | Sequence[LRScheduler]


def apply_hparams(optimizers: Optimizers, hparams: Mapping[str, object], schedulers: Schedulers = ()) -> dict[str, object]:
    """Sets hyperparameters in the parameter groups and returns what the live optimisers then hold, by full name.

    Args:
        optimizers: one optimiser, or a mapping of names to optimisers.
        hparams: by name, flat or nested; see the module.
        schedulers: the learning rate schedulers of these optimisers.

    Raises:
        UsageError: an optimiser holds another value afterwards.
    """
    places = list(option_places(optimizers, hparams, schedulers))
    check_bases(places)
    bases: dict[int, dict[int, float]] = {}  # by the id of the optimiser and the index of the group
    for place in places:
        if place.schedulers and place.option == "lr":
            bases.setdefault(id(place.optimizer), {})[place.index] = place.value
        else:
            place.set()
    for place in places:
        if chosen := bases.pop(id(place.optimizer), None):
            groups = place.optimizer.param_groups
            rebase(place.schedulers, [chosen.get(at, group["initial_lr"]) for at, group in enumerate(groups)])
    for place in places:
        if not same_value(held := place.get(), place.value):
            raise UsageError(f"{place.name} was set to {place.value!r}, but the optimiser holds {held!r}.")
    return {place.name: place.get() for place in places}


def read_hparams(optimizers: Optimizers, hparams: Mapping[str, object], schedulers: Schedulers = ()) -> dict[str, object]:
    """Returns what the live optimisers hold for each hyperparameter that they know, by full name (``optimizer[0].lr``)."""
    return {place.name: place.get() for place in option_places(optimizers, hparams, schedulers)}


@dataclass(frozen=True)
class OptionPlace:
    """One option of one parameter group, and the value that one hyperparameter has for it."""

    hparam: str
    name: str  # full: ``optimizer[0].lr``
    optimizer: Optimizer
    index: int  # of the group
    option: str
    value: Any  # the user's own
    schedulers: Sequence[LRScheduler]  # of its optimiser, that compute rates from a base rate
    reduced: bool  # by a scheduler that lowers the rate when it decides to

    @property
    def group(self) -> Group:
        """The parameter group."""
        return self.optimizer.param_groups[self.index]

    def get(self) -> object:
        """Returns what the group holds now; under schedulers the base rate."""
        if self.option in BETA_PLACES:
            return self.group["betas"][BETA_PLACES[self.option]]
        held = self.group["initial_lr" if self.schedulers and self.option == "lr" else self.option]
        return held.item() if isinstance(held, torch.Tensor) else held

    def set(self) -> None:
        """Sets the option; the rate under a scheduler is set by `rebase`."""
        if self.option in BETA_PLACES:
            betas = list(self.group["betas"])
            betas[BETA_PLACES[self.option]] = self.value
            self.group["betas"] = tuple(betas)
        else:
            put_option(self.group, self.option, self.value)


def option_places(optimizers: Optimizers, hparams: Mapping[str, object], schedulers: Schedulers) -> Iterator[OptionPlace]:
    """Yields every place that one of the hyperparameters is for."""
    named = optimizers if isinstance(optimizers, Mapping) else {"optimizer": optimizers}
    listed = outermost(schedulers if isinstance(schedulers, Sequence) else [schedulers])
    flat = dict(flattened(hparams))
    for owner, optimizer in named.items():
        all_own = [each for each in listed if each.optimizer is optimizer]
        own = [each for each in all_own if not isinstance(each, ReduceLROnPlateau)]
        for index, group in enumerate(optimizer.param_groups):
            label = str(group.get("name", index))
            for option, (hparam, value) in _chosen(flat, owner, label, group).items():
                if cycles(option, optimizer, own):
                    continue
                name = f"{owner}[{label}].{option}"
                reduced = option == "lr" and len(own) < len(all_own)
                yield OptionPlace(hparam, name, optimizer, index, option, value, own, reduced)


def check_bases(places: Sequence[OptionPlace]) -> None:
    """Raises a `UsageError` for a rate that a scheduler sets without looking at it."""
    for place in places:
        for each in place.schedulers:
            if place.option == "lr" and not has_base(each):
                raise UsageError(f"{place.name} is set by a {type(each).__name__}, which has no base rate: tune max_lr instead.")


def _chosen(flat: Mapping[str, object], owner: str, label: str, group: Group) -> dict[str, tuple[str, object]]:
    """Returns the options of a group that hyperparameters set, with their names and values; the most specific name wins."""
    chosen: dict[str, tuple[int, str, object]] = {}
    for path, value in flat.items():
        *where, option = path.split(".")
        known = (option in group and option != "params") or (option in BETA_PLACES and "betas" in group)
        if known and where in ([], [label], [owner], [owner, label]) and len(where) >= chosen.get(option, (0, "", None))[0]:
            chosen[option] = (len(where), path, value)
    return {option: (name, value) for option, (_, name, value) in chosen.items()}
