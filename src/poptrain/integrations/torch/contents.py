"""What a member consists of, and how the state of another one is put into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from poptrain.core.errors import UsageError
from poptrain.integrations.torch.merge import merged, outline
from poptrain.integrations.torch.optimizers import Options, options_of, put_optimizer, read_optimizer
from poptrain.integrations.torch.parts import is_part, put_part, read_part, weights_of
from poptrain.integrations.torch.rates import follow, is_scheduler, outermost, put_scheduler, read_scheduler
from poptrain.integrations.torch.tree import MADE, Live, Reader, Tree, Writer

PartT = TypeVar("PartT")


class Contents:
    """Everything that the attributes of a member lead to.

    Args:
        attributes: of the member, the live dictionary.
        named: optimisers that are not among them, by name.
        elsewhere: objects that are stored elsewhere, by id.
    """

    def __init__(self, attributes: dict[str, Live], named: Mapping[str, Optimizer], elsewhere: Mapping[int, str] | None = None):
        self._attributes, self._named, self._elsewhere = attributes, named, dict(elsewhere or {})
        first = Reader(is_part, self._elsewhere)
        self._read_values(first)
        self.parts: dict[str, Live] = {path: part for path, part in first.parts.items() if part not in named.values()}
        self.parts |= named
        self.weights = weights_of(self.parts)
        inner = {id(each) for each in outermost([part for part in self.parts.values() if is_scheduler(part)])}
        self.schedulers: dict[str, LRScheduler] = {path: part for path, part in self.parts.items() if id(part) in inner}

    def of(self, kind: type[PartT]) -> dict[str, PartT]:
        """Returns the parts of a kind by path."""
        return {path: part for path, part in self.parts.items() if isinstance(part, kind)}

    def _read_values(self, reader: Reader) -> dict[str, Tree]:
        return {name: reader.read(value, name) for name, value in self._attributes.items() if not name.startswith("_")}

    def read(self) -> dict[str, Tree]:
        """Returns the state; its tensors are those of the live object."""
        known = self._elsewhere | {id(tensor): path for path, tensor in reversed(self.weights.items())}
        reader = Reader(is_part, known)
        values = self._read_values(reader)
        schedulers, optimizers = self.schedulers, self.of(Optimizer)
        others = {
            path: read_part(part, path, reader)
            for path, part in self.parts.items()
            if path not in optimizers and not is_scheduler(part)
        }
        return {
            "values": values,
            "parts": others,
            "optimizers": {path: read_optimizer(part, path, reader) for path, part in optimizers.items()},
            "schedulers": {path: read_scheduler(part) for path, part in schedulers.items()},
        }

    def outline(self) -> dict[str, Tree]:
        """Returns what `merge` must know of a new object."""
        state = self.read()
        return {
            "values": outline(state["values"]),
            "parts": outline(state["parts"]),
            "options": {path: options_of(part) for path, part in self.of(Optimizer).items()},
            "schedulers": outline(state["schedulers"]),
        }

    def put(
        self,
        state: Mapping[str, Tree],
        built: Mapping[str, Tree] | None,
        fresh: Mapping[str, Tree],
        classes: Mapping[str, type],
        hint: str,
    ) -> None:
        """Puts the state of another member into this one, which ``__init__`` has just made.

        Args:
            state: as `read` returned it.
            built: the outline of the other member; None: it had the same hyperparameters, and its state is taken as it is.
            fresh: the outline of this one.
            classes: of which training may have made objects, by name.
            hint: what to do if the state does not fit; the end of a message.
        """
        self._check_known(state)
        values, parts = state["values"], state["parts"]
        if built is not None:
            values = merged(built["values"], fresh["values"], values)
            both = {path for path in parts if path in built["parts"] and path in fresh["parts"]}
            parts = {p: merged(built["parts"][p], fresh["parts"][p], s) if p in both else s for p, s in parts.items()}
        writer = Writer(self.parts, self.weights, classes)
        for path, saved in parts.items():
            put_part(self.parts[path], saved, path, writer, hint)
        self._put_values(values, writer)
        weights = {**self.weights, **{k: v for k, v in writer.met.items() if isinstance(v, torch.Tensor)}}
        for path, saved in state["optimizers"].items():
            options = None if built is None else built["options"].get(path)
            put_optimizer(self.parts[path], saved, options, path, weights)
        self._put_schedulers(state, built, fresh)

    def put_first_format(self, state: Mapping[str, Tree]) -> None:
        """Puts in a state that version 0.1 wrote: the ``state_dict`` of each part, and plain values."""
        for path, saved in state["objects"].items():
            if path not in self.parts:
                raise UsageError(f"the checkpoint holds the state of {path}, which __init__ did not make.")
            self.parts[path].load_state_dict(saved)
        writer = Writer(self.parts, self.weights, {})
        self._attributes |= {n: writer.put(self._attributes.get(n, MADE), tree, n) for n, tree in state["values"].items()}

    def _check_known(self, state: Mapping[str, Tree]) -> None:
        for group in ("parts", "optimizers"):
            if missing := [path for path in state[group] if path not in self.parts]:
                raise UsageError(f"the checkpoint holds the state of {missing[0]}, which __init__ did not make.")

    def _put_values(self, values: Mapping[str, Tree], writer: Writer) -> None:
        for name, tree in values.items():
            held = self._attributes.get(name, MADE)
            value = writer.put(held, tree, name)
            if value is not MADE and value is not held:
                self._attributes[name] = value
        parts = set(map(id, self.parts.values()))
        for name, held in list(self._attributes.items()):
            if name not in values and not name.startswith("_") and id(held) not in parts:
                del self._attributes[name]  # training did it as well

    def _put_schedulers(self, state: Mapping[str, Tree], built: Mapping[str, Tree] | None, fresh: Mapping[str, Any]) -> None:
        for owner, optimizer in self.of(Optimizer).items():
            mine = {path: each for path, each in self.schedulers.items() if each.optimizer is optimizer}
            if not mine:
                continue
            if built is None:
                for path, each in mine.items():
                    put_scheduler(each, state["schedulers"][path]["state"])
                continue
            before: list[Options] = built["options"].get(owner, fresh["options"][owner])
            now: list[Options] = state["optimizers"][owner]["state"]["param_groups"] if owner in state["optimizers"] else before
            follow(optimizer, mine, state["schedulers"], built["schedulers"], fresh["options"][owner], (before, now))
