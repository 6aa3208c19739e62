"""The parts of a member that are stored by themselves: modules, random generators, and what has a ``state_dict``.

Optimisers and learning rate schedulers are parts as well; `optimizers` and `rates` put them into a copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader, Dataset

from poptrain.core.errors import UsageError
from poptrain.integrations.torch.draws import Draws
from poptrain.integrations.torch.generators import GENERATORS, put_generator, read_generator
from poptrain.integrations.torch.tree import MADE, Live, Reader, Tree, Writer, put_tensor

LOADERS = (DataLoader, Dataset)  # of which only the state of what they draw with is stored
REGISTRIES = frozenset(vars(nn.Module()))  # the attributes in which PyTorch keeps what a module is


def is_part(value: Live) -> bool:
    """True for an object that is stored by itself."""
    if isinstance(value, type):
        return False
    if isinstance(value, LOADERS):
        return Draws(value).has_own
    return isinstance(value, GENERATORS) or (
        callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))
    )


def weights_of(parts: Mapping[str, Live]) -> dict[str, torch.Tensor]:
    """Returns the tensors of modules by path: parameters and buffers."""
    return {
        f"{path}.{name}": tensor for path, part in parts.items() if isinstance(part, nn.Module) for name, tensor in _tensors(part)
    }


def read_part(part: Live, path: str, reader: Reader) -> Tree:
    """Returns the state of a part that is neither an optimiser nor a scheduler."""
    if isinstance(part, GENERATORS):
        return read_generator(part)
    if isinstance(part, LOADERS):
        return Draws(part).read_own()
    if not isinstance(part, nn.Module):
        return part.state_dict()
    modules = dict(part.named_modules())
    own = {
        f"{name}.{key}" if name else key: reader.read(value, f"{path}.{name}.{key}")
        for name, module in modules.items()
        for key, value in vars(module).items()
        if key not in REGISTRIES and not key.startswith("__")
    }
    tensors = {name: tensor.detach() for name, tensor in _tensors(part) if not _in_state(part, name)}
    return {
        "state": dict(part.state_dict()),
        "others": tensors,  # buffers that are not persistent
        "trainable": {name: weight.requires_grad for name, weight in part.named_parameters()},
        "training": {name: module.training for name, module in modules.items()},
        "own": {key: value for key, value in own.items() if value is not MADE},
    }


def put_part(part: Live, state: Tree, path: str, writer: Writer, hint: str) -> None:
    """Puts a state into a part that ``__init__`` has made.

    Args:
        hint: what to do if the state does not fit; the end of a message.

    Raises:
        UsageError: the state is that of an object of another structure.
    """
    if isinstance(part, GENERATORS):
        put_generator(part, state)
    elif isinstance(part, LOADERS):
        Draws(part).put_own(state)
    elif isinstance(part, nn.Module):
        _put_module(part, state, path, writer, hint)
    else:
        part.load_state_dict(state)


def _put_module(part: nn.Module, state: Mapping[str, Tree], path: str, writer: Writer, hint: str) -> None:
    mine = part.state_dict()
    saved = state["state"]
    for name in [*mine, *saved]:
        a, b = mine.get(name, MADE), saved.get(name, MADE)
        if a is MADE or b is MADE or _differ(a, b):
            raise UsageError(f"{path}.{name} is {_shape(b)} in the checkpoint, but __init__ made {_shape(a)}. {hint}")
    part.load_state_dict(saved)
    known = dict(_tensors(part))
    for name, tensor in state["others"].items():
        if name in known:
            put_tensor(known[name], tensor)
    for name, weight in part.named_parameters():
        weight.requires_grad_(state["trainable"].get(name, weight.requires_grad))
    modules = dict(part.named_modules())
    for name, training in state["training"].items():
        if name in modules:
            modules[name].training = training
    for key, tree in state["own"].items():
        name, _, attribute = key.rpartition(".")
        if name in modules:
            held = vars(modules[name]).get(attribute, MADE)
            value = writer.put(held, tree, f"{path}.{key}")
            if value is not MADE and value is not held:
                vars(modules[name])[attribute] = value


def _tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _in_state(module: nn.Module, name: str) -> bool:
    owner, _, key = name.rpartition(".")
    return key not in module.get_submodule(owner)._non_persistent_buffers_set


def _differ(mine: Any, saved: Any) -> bool:
    """True for two tensors of different shapes; one that is made at the first use has none yet."""
    both = isinstance(mine, torch.Tensor) and isinstance(saved, torch.Tensor)
    return both and not is_lazy(mine) and not is_lazy(saved) and mine.shape != saved.shape


def _shape(value: Any) -> str:
    if value is MADE:
        return "missing"
    return f"of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"
