"""How an optimiser was made: what a copy keeps of its own when a framework loads the optimiser of its parent into it.

A framework that restores an optimiser restores its options too, so that the new values of a copy are lost. Here the options
are noted when the optimiser is new, and put back when the framework has loaded the state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from poptrain.core.errors import UsageError
from poptrain.integrations.adapter import Place
from poptrain.integrations.torch.optimizers import put_option
from poptrain.integrations.torch.rates import cycles, has_base, is_replayed, rebase

RATES = ("lr", "initial_lr")
BETAS = {"beta1": 0, "beta2": 1}  # their places in the option ``betas``


@dataclass(frozen=True)
class FreshOptimizer:
    """The kind of an optimiser and the options of its parameter groups, as it was made; without the parameters."""

    kind: str
    groups: tuple[dict[str, Any], ...]
    schedules: tuple[dict[str, Any], ...] = ()  # the states of its new schedulers, if they were made with it

    @classmethod
    def of(cls, optimizer: Optimizer, schedulers: Sequence[LRScheduler] = ()) -> FreshOptimizer:
        """Returns how a new optimiser and its schedulers were made. A scheduler may have changed the rates already."""
        groups = []
        for group in optimizer.param_groups:
            options = {name: value for name, value in group.items() if name not in ("params", *RATES)}
            groups.append({**options, "lr": float(group.get("initial_lr", group["lr"]))})
        schedules = [deepcopy(dict(each.state_dict())) for each in schedulers]
        return cls(type(optimizer).__qualname__, tuple(groups), tuple(schedules))

    def put_into(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler] = (), counts: Mapping[int, int] | None = None
    ) -> None:
        """Sets the options in an optimiser with restored state, and makes its schedules what these base rates would give.

        What a `ReduceLROnPlateau` has decided by itself lasts, as a factor.

        Args:
            optimizer: with restored state.
            schedulers: of this optimiser, with restored state.
            counts: where a schedule is to be, by its index in `schedulers`, if not where its state says.

        Raises:
            UsageError: the optimiser has another number of parameter groups.
        """
        groups = optimizer.param_groups
        if len(groups) != len(self.groups):
            raise UsageError(
                f"the checkpoint has {len(groups)} parameter groups of {self.kind}, but a member with these values has "
                f"{len(self.groups)}: a hyperparameter that changes which parameters are trained must be static=True."
            )
        computed = [each for each in schedulers if not isinstance(each, ReduceLROnPlateau)]
        anew = len(self.schedules) == len(schedulers) == len(computed) and all(map(is_replayed, computed))
        based = bool(computed) and (anew or all(map(has_base, computed)))
        for group, fresh in zip(groups, self.groups, strict=True):
            factor = _factor(group)
            for name, value in fresh.items():
                if name != "lr":
                    put_option(group, name, value)
            if not computed:
                put_option(group, "lr", fresh["lr"] * factor)
                if "initial_lr" in group or schedulers:
                    put_option(group, "initial_lr", fresh["lr"])
        if based:
            places = {computed.index(schedulers[index]): count for index, count in (counts or {}).items()}
            rebase(computed, [fresh["lr"] for fresh in self.groups], self.schedules if anew else (), places)

    def check_kind(self, kind: str) -> None:
        """Raises a `UsageError` if a checkpoint holds the state of another kind of optimiser."""
        if kind and kind != self.kind:
            raise UsageError(
                f"the checkpoint has the state of {kind}, but a member with these values has {self.kind}: a hyperparameter that "
                "chooses the optimiser must be static=True."
            )


def _factor(group: dict[str, Any]) -> float:
    """Returns what has become of a rate whose base is known; 1 if it is not."""
    base = float(group.get("initial_lr", 0.0))
    return float(group["lr"]) / base if base else 1.0


def optimizer_places(
    optimizer: Optimizer, hparam: str, option: str, label: str = "optimizer", schedulers: Sequence[LRScheduler] = ()
) -> Iterator[Place]:
    """Yields the places of a live optimiser that hold an option, one for each group; of ``lr`` under a scheduler its base.

    A momentum that a scheduler sets has no place.
    """
    if cycles(option, optimizer, schedulers):
        return
    for index, group in enumerate(optimizer.param_groups):
        name = f"{label}[{index}].{option}"
        if option == "lr":
            yield Place(hparam, name, float(group.get("initial_lr", group["lr"])))
        elif option in BETAS and "betas" in group:
            yield Place(hparam, name, group["betas"][BETAS[option]])
        elif option in group and option != "params":
            yield Place(hparam, name, group[option])
