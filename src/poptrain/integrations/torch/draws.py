"""What the order of a ``DataLoader`` depends on: global generators, its own, those of its samplers and data, and counters."""

from __future__ import annotations

from functools import partial
from typing import Any
from weakref import ref

import torch
from torch.utils.data import DataLoader, Dataset

from poptrain.integrations import generators
from poptrain.integrations.torch.generators import GENERATORS, put_generator, read_generator
from poptrain.integrations.torch.tree import is_users

Loader = DataLoader[Any] | Dataset[Any]
State = Any  # of all generators, as a checkpoint holds it
SAMPLERS = ("sampler", "batch_sampler")  # attributes of a loader or a sampler that lead to another sampler
DATA = ("dataset", "datasets")  # those that lead to data, which may draw noise


class Draws:
    """The generators and counters of one loader, as they are now.

    A counter is a number of a sampler that it changes by itself, such as that of the epochs; a number that has not changed since
    the loader was first seen, when it was made, is left to ``__init__``.

    Args:
        loader: a loader, or data alone.
    """

    def __init__(self, loader: Loader):
        self._loader = loader
        known = _SEEN.get(id(loader))
        if known is None or known[0]() is not loader:  # the number may be that of an object that is gone
            known = _SEEN[id(loader)] = (ref(loader, partial(_forget, id(loader))), self._numbers())
        self._made = known[1]

    @property
    def has_own(self) -> bool:
        """True if there is a state that the global generators do not have."""
        return bool(self._generators()) or any(is_users(type(owner)) for _, owner in self._samplers())

    @property
    def names(self) -> list[str]:
        """The paths of the generators of its own."""
        return [path.removeprefix("loader.") for path in self._generators()]

    def read(self) -> State:
        """Returns all of the state."""
        return {"torch": torch.get_rng_state(), "others": generators.read_generators(), "own": self.read_own()}

    def put(self, state: State) -> None:
        """Sets all of the state; a tensor is that of the one generator that an older version stored."""
        if isinstance(state, torch.Tensor):
            own = [each for each in self._generators().values() if isinstance(each, torch.Generator)]
            own[0].set_state(state) if own else torch.set_rng_state(state)
            return
        torch.set_rng_state(state["torch"])
        generators.put_generators(state["others"])
        self.put_own(state["own"])

    def read_own(self) -> State:
        """Returns the state of what belongs to the loader and its samplers."""
        numbers = {path: value for path, value in self._numbers().items() if value != self._made.get(path)}
        return {"generators": {path: read_generator(each) for path, each in self._generators().items()}, "numbers": numbers}

    def put_own(self, state: State) -> None:
        """Sets what belongs to the loader and its samplers."""
        mine, owners = self._generators(), dict(self._owners())
        for path, saved in state.get("generators", {}).items():
            if path in mine:
                put_generator(mine[path], saved)
        for path, value in {**self._made, **state.get("numbers", {})}.items():
            owner, _, name = path.rpartition(".")
            if owner in owners and name in getattr(owners[owner], "__dict__", {}):
                setattr(owners[owner], name, value)

    def _owners(self) -> list[tuple[str, object]]:
        """Returns the loader, its samplers and its data by path."""
        found: list[tuple[str, object]] = [("loader", self._loader)]
        for path, owner in found:
            for name in (*SAMPLERS, *DATA):
                inner = getattr(owner, "__dict__", {}).get(name)
                for index, each in enumerate(inner if isinstance(inner, list) else [inner]):
                    leads = hasattr(each, "__iter__") or hasattr(each, "__getitem__")
                    if leads and not any(each is other for _, other in found):
                        found.append((f"{path}.{name}" + (f".{index}" if each is not inner else ""), each))
        return found

    def _samplers(self) -> list[tuple[str, object]]:
        return [(path, owner) for path, owner in self._owners()[1:] if not set(DATA) & set(path.split("."))]

    def _generators(self) -> dict[str, Any]:
        return {
            f"{path}.{name}": value
            for path, owner in self._owners()
            for name, value in getattr(owner, "__dict__", {}).items()
            if isinstance(value, GENERATORS)
        }

    def _numbers(self) -> dict[str, int]:
        return {
            f"{path}.{name}": value
            for path, owner in self._samplers()
            for name, value in getattr(owner, "__dict__", {}).items()
            if type(value) is int
        }


_SEEN: dict[int, tuple[ref[Loader], dict[str, int]]] = {}  # by id: the numbers of a loader when it was first seen


def _forget(number: int, gone: object) -> None:
    _SEEN.pop(number, None)
