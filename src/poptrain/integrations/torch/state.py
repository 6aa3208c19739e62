"""State of PyTorch objects on the disk, without pickle: tensors as safetensors, everything else as JSON.

A state is a tree of dicts (with any plain keys), lists, tuples, numbers, strings, None, tensors and numpy arrays: what
``state_dict()`` of modules, optimisers, schedulers and scalers returns, and what `tree` reads from a member. It comes back
exactly, on the CPU.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from poptrain.core.errors import UsageError
from poptrain.integrations.torch.tree import MADE, Fields, Made, Ref, name_of

TorchState = Any  # such a tree
JsonTree = Any  # the same tree as JSON, with the names of tensors in their places
PLAIN = (bool, int, float, str, type(None))
ALIGNMENT = 64  # bytes, of PyTorch's allocator on the CPU
CONTAINERS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


def save_state(state: TorchState, directory: Path, name: str = "state") -> None:
    """Writes a state as ``NAME.json`` and ``NAME.safetensors``.

    Raises:
        TypeError: the state holds something that is neither plain nor a tensor; the message says where.
    """
    tensors: dict[str, torch.Tensor] = {}
    structure = _encode(state, tensors, name)
    save_file(tensors, str(directory / f"{name}.safetensors"))
    (directory / f"{name}.json").write_text(json.dumps(structure))


def load_state(directory: Path, name: str = "state", classes: Mapping[str, type] | None = None) -> TorchState:
    """Returns what `save_state` wrote; `classes` are those of named tuples, as ``module:qualname``."""
    tensors = load_file(str(directory / f"{name}.safetensors"))
    return _decode(json.loads((directory / f"{name}.json").read_text()), tensors, classes or {})


def is_plain(value: object) -> bool:
    """True if `save_state` accepts the value."""
    try:
        _encode(value, {}, "")
    except TypeError:
        return False
    return True


def _encode(value: TorchState, tensors: dict[str, torch.Tensor], path: str) -> JsonTree:
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        if array.dtype.kind not in "biufc" or array.dtype in (np.longdouble, np.clongdouble):
            raise TypeError(f"{path} is an array of {array.dtype}, which a checkpoint cannot hold: expected numbers or booleans.")
        tensor = torch.from_numpy(np.ascontiguousarray(array).copy())
        kind = "scalar" if isinstance(value, np.generic) else "array"
        return {kind: _add(tensor, tensors), "shape": list(array.shape)}
    if isinstance(value, torch.Tensor):
        return {"weight" if value.requires_grad else "tensor": _add(value.detach(), tensors)}
    if type(value) in PLAIN:
        return value
    if isinstance(value, Made):
        return {"made": None}
    if isinstance(value, Ref):
        return {"ref": value.path}
    if isinstance(value, Fields):
        inner = [[key, _encode(item, tensors, f"{path}.{key}")] for key, item in value.values.items()]
        return {"fields": [value.kind, inner]}
    if isinstance(value, (complex, bytes)):
        return {"complex": [value.real, value.imag]} if isinstance(value, complex) else {"bytes": value.hex()}
    if isinstance(value, dict):  # an OrderedDict too
        return {"dict": [[_encode(k, tensors, path), _encode(v, tensors, f"{path}.{k}")] for k, v in value.items()]}
    items = list(value) if isinstance(value, (list, tuple, deque, set, frozenset)) else None
    if items is not None:
        inner = [_encode(item, tensors, f"{path}[{at}]") for at, item in enumerate(items)]
        if isinstance(value, deque):
            return {"deque": [value.maxlen, inner]}
        if isinstance(value, (set, frozenset)):
            inner.sort(key=repr)
        if type(value).__name__ in CONTAINERS:
            return {type(value).__name__: inner}
        if hasattr(value, "_make"):
            return {"named": [name_of(type(value)), inner]}
    raise TypeError(
        f"{path} is {type(value).__name__}, which a checkpoint cannot hold: expected tensors, arrays, numbers and strings, "
        "in dicts, lists and tuples."
    )


def _add(tensor: torch.Tensor, tensors: dict[str, torch.Tensor]) -> str:
    """Adds a tensor to those of the file and returns its name there."""
    name = str(len(tensors))
    tensors[name] = tensor.cpu().contiguous().clone()  # safetensors refuses views of one storage
    return name


def _decode(value: JsonTree, tensors: dict[str, torch.Tensor], classes: Mapping[str, type]) -> TorchState:
    if not isinstance(value, dict):
        return value
    kind, inner = next(iter(value.items()))
    if kind in ("array", "scalar"):
        array = tensors[inner].numpy().reshape(value["shape"])
        return array if kind == "array" else array[()]
    if kind in ("tensor", "weight"):
        return _aligned(tensors[inner]).requires_grad_(kind == "weight")
    if kind == "made":
        return MADE
    if kind == "ref":
        return Ref(inner)
    if kind == "complex":
        return complex(*inner)
    if kind == "bytes":
        return bytes.fromhex(inner)
    if kind == "dict":
        return {_decode(key, tensors, classes): _decode(item, tensors, classes) for key, item in inner}
    if kind == "fields":
        return Fields(inner[0], {key: _decode(item, tensors, classes) for key, item in inner[1]})
    if kind == "deque":
        return deque((_decode(item, tensors, classes) for item in inner[1]), inner[0])
    if kind == "named":
        return _named(inner[0], classes)(_decode(item, tensors, classes) for item in inner[1])
    return CONTAINERS[kind](_decode(item, tensors, classes) for item in inner)


def _aligned(tensor: torch.Tensor) -> torch.Tensor:
    """Returns a tensor in memory as PyTorch allocates it: at other addresses, sums of MKL may differ in the last bit."""
    return tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()


def _named(name: str, classes: Mapping[str, type]) -> Any:
    if name not in classes:
        raise UsageError(
            f"the checkpoint holds a {name.rpartition(':')[2]}, and the class is not one of the member's own module: define the "
            "named tuple next to the member's class, or use a plain tuple."
        )
    return classes[name]._make  # type: ignore[attr-defined]  # only named tuples are stored so
