"""PyTorch: hyperparameters that really reach the optimiser, and a checkpoint that holds all of the state.

The field's classic fault: a clone loads its parent's optimiser, with it the parent's learning rate, and the one that was
chosen for it never acts. Here hyperparameters are applied after every load and read back from the live object.

Names. A hyperparameter named like an option of a parameter group (``lr``, ``weight_decay``, ``momentum`` …) is set in every
group; ``beta1`` and ``beta2`` are the two ``betas``. ``head.lr`` is for the group, or the optimiser's attribute, called
``head``; ``actor.head.lr`` for that group of that optimiser. Under a learning rate scheduler ``lr`` is the base rate: what the
scheduler has made of it is kept as a factor. Names that fit nothing are the user's own.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isclose
from pathlib import Path
from typing import Any

from poptrain.core.errors import MissingExtra, UsageError

try:
    import torch
except ImportError as error:
    raise MissingExtra("poptrain.integrations.torch needs PyTorch: pip install 'poptrain[torch]'") from error

from poptrain.integrations.torch_random import stream
from poptrain.integrations.torch_state import is_plain, load_state, save_state

__all__ = ["TorchMember", "apply_hparams", "load_state", "read_hparams", "save_state"]

_BETAS = {"beta1": 0, "beta2": 1}


def apply_hparams(optimizers: Any, hparams: Mapping[str, Any], schedulers: Any = ()) -> dict[str, Any]:
    """Sets hyperparameters in the parameter groups and returns what the live optimisers then hold, by full name.

    Args:
        optimizers: one optimiser, or a mapping of names to optimisers.
        hparams: by name, flat or nested; see the module.
        schedulers: learning rate schedulers that drive these optimisers.

    Raises:
        UsageError: an optimiser holds another value afterwards.
    """
    wanted = {}
    for place in _places(optimizers, hparams, schedulers):
        place.set()
        wanted[place.name] = place.value
    held = read_hparams(optimizers, hparams, schedulers)
    for name, value in wanted.items():
        if not _equal(held[name], value):
            raise UsageError(f"{name} was set to {value!r}, but the optimiser holds {held[name]!r}.")
    return held


def read_hparams(optimizers: Any, hparams: Mapping[str, Any], schedulers: Any = ()) -> dict[str, Any]:
    """Returns what the live optimisers hold for each hyperparameter that they know, by full name (``optimizer[0].lr``)."""
    return {place.name: place.get() for place in _places(optimizers, hparams, schedulers)}


class TorchMember:
    """The base of a trainable class with PyTorch in it: write ``__init__(hp, seed)`` and ``train(hp, steps)``, no more.

    Around them it seeds PyTorch, numpy and `random` from `seed` and gives each member a random stream of its own; before
    ``train`` it applies `hp` to all optimisers and reads them back. ``save`` and ``load`` take every attribute that has a
    ``state_dict``, or is made of tensors, arrays, numbers and strings, also inside lists and dicts; what begins with an
    underscore stays out.
    """

    _random: Any = None  # where its random stream stands
    _busy = False  # inside `__init__` or `train`: a subclass may call its parent's

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, around in (("__init__", _seeded), ("train", _tuned)):
            if name in cls.__dict__:
                setattr(cls, name, around(cls.__dict__[name]))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Returns the optimisers by name: those among the attributes. Override it for others."""
        return {name: item for name, item in _leaves(vars(self)) if isinstance(item, torch.optim.Optimizer)}

    def schedulers(self) -> list[Any]:
        """Returns the learning rate schedulers among the attributes."""
        return [item for _, item in _leaves(vars(self)) if hasattr(item, "base_lrs") and hasattr(item, "optimizer")]

    def effective(self, hp: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what the live optimisers hold for each of `hp` that they know, by full name."""
        return read_hparams(self.optimizers(), hp, self.schedulers())

    def save(self, directory: Path) -> None:
        """Writes all of the state into a directory."""
        own = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        state = {name: value.state_dict() for name, value in _leaves(own) if _has_state(value)}
        plain = {name: value for name, value in own.items() if is_plain(value)}
        save_state({"objects": state, "values": plain, "random": self._random}, Path(directory))

    def load(self, directory: Path) -> None:
        """Takes over what `save` wrote; hyperparameters are applied when training goes on.

        Raises:
            UsageError: the checkpoint has the state of an object that this member has not.
        """
        saved = load_state(Path(directory))
        mine = {name: value for name, value in _leaves(vars(self)) if _has_state(value)}
        for name, state in saved["objects"].items():
            if name not in mine:
                raise UsageError(
                    f"the checkpoint holds the state of {name}, which __init__ of {type(self).__name__} did not make."
                )
            mine[name].load_state_dict(state)
        vars(self).update(saved["values"])
        self._random = saved["random"]


def _seeded(init: Any) -> Any:
    @functools.wraps(init)
    def seeded(self: TorchMember, hp: Mapping[str, Any], seed: int, *args: Any, **options: Any) -> None:
        if self._busy:
            return init(self, hp, seed, *args, **options)
        with _alone(self, seed):
            init(self, hp, seed, *args, **options)

    return seeded


def _tuned(train: Any) -> Any:
    @functools.wraps(train)
    def tuned(self: TorchMember, hp: Mapping[str, Any], steps: int) -> Any:
        if self._busy:
            return train(self, hp, steps)
        if not self.optimizers():
            raise UsageError(
                f"no optimiser is among the attributes of {type(self).__name__}: keep it in one, or return it from optimizers()."
            )
        before = apply_hparams(self.optimizers(), hp, self.schedulers())
        with _alone(self):
            metrics = train(self, hp, steps)
        for name, value in self.effective(hp).items():
            if name in before and not _equal(value, before[name]):
                warnings.warn(f"train changed {name} from {before[name]!r} to {value!r}: who tunes it now?", stacklevel=2)
        return metrics

    return tuned


@contextmanager
def _alone(member: TorchMember, seed: int | None = None) -> Iterator[None]:
    member._busy = True
    try:
        with stream(member, seed):
            yield
    finally:
        member._busy = False


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields attributes by name, those inside of lists, tuples and dicts as ``name.key``."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, item in inside:
        name = f"{path}.{key}" if path else str(key)
        yield from _leaves(item, name) if isinstance(item, (dict, list, tuple)) else [(name, item)]


def _has_state(value: Any) -> bool:
    return callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))


# -- where a hyperparameter lives -----------------------------------------------------------------------------------------


class _Place:
    """One option of one parameter group that one hyperparameter is for."""

    def __init__(self, name: str, group: dict[str, Any], option: str, value: Any, scheduler: Any, index: int):
        if option == "lr" and scheduler is not None and ("max_lr" in group or hasattr(scheduler, "max_lrs")):
            raise UsageError(f"{name} is driven by a {type(scheduler).__name__}, which knows no base rate: tune max_lr instead.")
        self.name, self.group, self.option, self.value = name, group, option, value
        self.scheduler, self.index = scheduler if option == "lr" else None, index

    def get(self) -> Any:
        if self.scheduler is not None:
            return float(self.scheduler.base_lrs[self.index])
        if self.option in _BETAS:
            return self.group["betas"][_BETAS[self.option]]
        held = self.group[self.option]
        return held.item() if isinstance(held, torch.Tensor) else held

    def set(self) -> None:
        if self.scheduler is not None:
            self._rebase()
        elif self.option in _BETAS:
            betas = list(self.group["betas"])
            betas[_BETAS[self.option]] = self.value
            self.group["betas"] = tuple(betas)
        else:
            self._put(self.option, self.value)

    def _rebase(self) -> None:
        """Sets the base rate; what the scheduler has made of the old one is kept as a factor."""
        scheduler, index = self.scheduler, self.index
        base, now = float(scheduler.base_lrs[index]), self.group["lr"]
        factor = float(now) / base if base else 1.0
        scheduler.base_lrs[index] = self.value
        self._put("initial_lr", self.value)
        self._put("lr", self.value * factor)
        if hasattr(scheduler, "_last_lr"):
            scheduler._last_lr[index] = self.value * factor

    def _put(self, option: str, value: Any) -> None:
        held = self.group.get(option)
        if isinstance(held, torch.Tensor):
            held.fill_(value)  # captured in a graph: the tensor itself must stay
        else:
            self.group[option] = value


def _places(optimizers: Any, hparams: Mapping[str, Any], schedulers: Any) -> Iterator[_Place]:
    named = optimizers if isinstance(optimizers, Mapping) else {"optimizer": optimizers}
    drivers = {id(s.optimizer): s for s in (schedulers if isinstance(schedulers, (list, tuple)) else [schedulers])}
    flat = dict(_flat(hparams))
    for owner, optimizer in named.items():
        for index, group in enumerate(optimizer.param_groups):
            own = str(group.get("name", index))
            chosen: dict[str, tuple[int, Any]] = {}
            for path, value in flat.items():
                *where, option = path.split(".")
                known = option in group and option != "params" or (option in _BETAS and "betas" in group)
                if known and where in ([], [own], [owner], [owner, own]) and len(where) >= chosen.get(option, (0,))[0]:
                    chosen[option] = (len(where), value)  # the longest name wins
            for option, (_, value) in chosen.items():
                yield _Place(f"{owner}[{own}].{option}", group, option, value, drivers.get(id(optimizer)), index)


def _flat(hparams: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in hparams.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, (int, float)):
        return isclose(a, b, rel_tol=1e-6, abs_tol=1e-45)  # a tensor may hold 32 bits
    return a == b
