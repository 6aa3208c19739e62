"""What the order of a ``DataLoader`` depends on: global generators, and those and the counters of its samplers."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader

from poptrain.integrations import generators
from poptrain.integrations.torch.parts import GENERATORS, put_generator, read_generator

State = Any  # of all generators, as a checkpoint holds it
MORE = ("sampler", "batch_sampler")  # attributes of a loader or a sampler that lead to another sampler


class Draws:
    """The generators and counters of one loader, as they are now.

    A counter is a number of a sampler that it changes by itself, such as that of the epochs; a number that has not changed since
    the loader was made is left to ``__init__``.
    """

    def __init__(self, loader: DataLoader[Any]):
        self._loader = loader
        self._made = self._numbers()

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
        """Returns the loader and its samplers by path."""
        found: list[tuple[str, object]] = [("loader", self._loader)]
        for path, owner in found:
            for name in MORE:
                inner = getattr(owner, name, None)
                if inner is not None and hasattr(inner, "__iter__") and not any(inner is each for _, each in found):
                    found.append((f"{path}.{name}", inner))
        return found

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
            for path, owner in self._owners()[1:]
            for name, value in getattr(owner, "__dict__", {}).items()
            if type(value) is int
        }
