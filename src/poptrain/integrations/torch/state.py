"""State of PyTorch objects on the disk, without pickle: tensors as safetensors, everything else as JSON.

A state is a tree of dicts (with any plain keys), lists, tuples, numbers, strings, None, tensors and numpy arrays: what
``state_dict()`` of modules, optimisers, schedulers and scalers returns. It comes back exactly, on the CPU.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

TorchState = Any  # such a tree
JsonTree = Any  # the same tree as JSON, with the names of tensors in their places
PLAIN = (bool, int, float, str, type(None))


def save_state(state: TorchState, directory: Path, name: str = "state") -> None:
    """Writes a state as ``NAME.json`` and ``NAME.safetensors``.

    Raises:
        TypeError: the state holds something that is neither plain nor a tensor; the message says where.
    """
    tensors: dict[str, torch.Tensor] = {}
    structure = _encode(state, tensors, name)
    save_file(tensors, str(directory / f"{name}.safetensors"))
    (directory / f"{name}.json").write_text(json.dumps(structure))


def load_state(directory: Path, name: str = "state") -> TorchState:
    """Returns what `save_state` wrote."""
    tensors = load_file(str(directory / f"{name}.safetensors"))
    return _decode(json.loads((directory / f"{name}.json").read_text()), tensors)


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
        if array.dtype.kind not in "biuf" or array.dtype == np.longdouble:
            raise TypeError(f"{path} is an array of {array.dtype}, which a checkpoint cannot hold: expected numbers or booleans.")
        return {"array": _add(torch.from_numpy(np.ascontiguousarray(array).copy()), tensors), "shape": list(array.shape)}
    if isinstance(value, torch.Tensor):
        return {"tensor": _add(value.detach(), tensors)}
    if type(value) in PLAIN:
        return value
    if isinstance(value, dict):  # an OrderedDict too
        return {"dict": [[_encode(k, tensors, path), _encode(v, tensors, f"{path}.{k}")] for k, v in value.items()]}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_encode(item, tensors, f"{path}[{at}]") for at, item in enumerate(value)]}
    raise TypeError(
        f"{path} is {type(value).__name__}, which a checkpoint cannot hold: expected tensors, arrays, numbers and strings, "
        "in dicts, lists and tuples."
    )


def _add(tensor: torch.Tensor, tensors: dict[str, torch.Tensor]) -> str:
    """Adds a tensor to those of the file and returns its name there."""
    name = str(len(tensors))
    tensors[name] = tensor.cpu().contiguous().clone()  # safetensors refuses views of one storage
    return name


def _decode(value: JsonTree, tensors: dict[str, torch.Tensor]) -> TorchState:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return tensors[value["array"]].numpy().reshape(value["shape"])
    ((kind, inner),) = value.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "dict":
        return {_decode(key, tensors): _decode(item, tensors) for key, item in inner}
    items = [_decode(item, tensors) for item in inner]
    return tuple(items) if kind == "tuple" else items
