"""`TorchMember`: the base of a trainable class with PyTorch in it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeGuard

from torch.optim import Optimizer

from poptrain.core import Metrics
from poptrain.core.errors import UsageError
from poptrain.integrations.torch.hparams import RateScheduler, apply_hparams, is_rate_scheduler, read_hparams, same_value
from poptrain.integrations.torch.random_stream import Generators, stream
from poptrain.integrations.torch.state import TorchState, is_plain, load_state, save_state


class HasState(Protocol):
    """An object such as a module, an optimiser or a scheduler."""

    def state_dict(self) -> TorchState: ...

    def load_state_dict(self, state: TorchState) -> object: ...


class TorchMember:
    """The base of a trainable class with PyTorch in it: write ``__init__(hp, seed)`` and ``train(hp, steps)``, nothing else.

    The base seeds PyTorch, numpy and `random` from `seed` and gives each member a random stream of its own; before ``train``
    it applies `hp` to all optimisers and reads them back. ``save`` and ``load`` handle every attribute that has a
    ``state_dict``, or consists of tensors, arrays, numbers and strings, also inside lists and dicts. Attributes whose name
    begins with an underscore are not saved.
    """

    _random: Generators | None = None  # the state of its random stream, while it does not train
    _busy = False  # inside `__init__` or `train`, where a subclass may call its parent's method

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        for name, wrapped in (("__init__", _seeded), ("train", _tuned)):
            if name in cls.__dict__:
                setattr(cls, name, wrapped(cls.__dict__[name]))

    def optimizers(self) -> dict[str, Optimizer]:
        """Returns the optimisers among the attributes, by name. Override it to return others."""
        return {name: item for name, item in _leaves(vars(self)) if isinstance(item, Optimizer)}

    def schedulers(self) -> list[RateScheduler]:
        """Returns the learning rate schedulers among the attributes."""
        return [item for _, item in _leaves(vars(self)) if is_rate_scheduler(item)]

    def effective(self, hp: Mapping[str, object]) -> dict[str, object]:
        """Returns what the live optimisers hold for each of `hp` that they know, by full name."""
        return read_hparams(self.optimizers(), hp, self.schedulers())

    def save(self, directory: Path) -> None:
        """Writes all of the state into a directory."""
        own = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        state = {name: value.state_dict() for name, value in _leaves(own) if _has_state(value)}
        plain = {name: value for name, value in own.items() if is_plain(value)}
        save_state({"objects": state, "values": plain, "random": self._random}, Path(directory))

    def load(self, directory: Path) -> None:
        """Restores what `save` wrote; hyperparameters are applied when training continues.

        Raises:
            UsageError: the checkpoint has the state of an object that this member does not have.
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


def _seeded(init: Callable[..., object]) -> Callable[..., None]:
    """Returns an ``__init__`` that begins the member's random stream."""

    @functools.wraps(init)
    def seeded(self: TorchMember, hp: Mapping[str, object], seed: int, *args: object, **options: object) -> None:
        if self._busy:
            init(self, hp, seed, *args, **options)
            return
        with _own_stream(self, seed):
            init(self, hp, seed, *args, **options)

    return seeded


def _tuned(train: Callable[..., Metrics]) -> Callable[..., Metrics]:
    """Returns a ``train`` that applies the hyperparameters first and checks them afterwards."""

    @functools.wraps(train)
    def tuned(self: TorchMember, hp: Mapping[str, object], steps: int) -> Metrics:
        if self._busy:
            return train(self, hp, steps)
        if not self.optimizers():
            raise UsageError(
                f"{type(self).__name__} has no optimiser among its attributes: keep it in one, or return it from optimizers()."
            )
        before = apply_hparams(self.optimizers(), hp, self.schedulers())
        with _own_stream(self):
            metrics = train(self, hp, steps)
        for name, value in self.effective(hp).items():
            if name in before and not same_value(value, before[name]):
                text = f"train changed {name} from {before[name]!r} to {value!r}: train() must not change tuned values."
                warnings.warn(text, stacklevel=2)
        return metrics

    return tuned


@contextmanager
def _own_stream(member: TorchMember, seed: int | None = None) -> Iterator[None]:
    """Puts the member's random stream in place; `seed` begins a new one."""
    member._busy = True
    try:
        with stream(member, seed):
            yield
    finally:
        member._busy = False


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yields attributes by name, those inside lists, tuples and dicts as ``name.key``."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, item in inside:
        name = f"{path}.{key}" if path else str(key)
        yield from _leaves(item, name) if isinstance(item, (dict, list, tuple)) else [(name, item)]


def _has_state(value: object) -> TypeGuard[HasState]:
    return callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))
