"""PyTorch tensors in carries: their values are stored as an array, with the name of their type."""

from __future__ import annotations

from typing import Any

import numpy as np

from poptrain.core import Carry

Array = np.ndarray[Any, np.dtype[Any]]
_WIDTHS = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}  # in bytes, of the whole numbers that other types are stored as


def is_tensor(leaf: Carry) -> bool:
    """True for a plain tensor. It does not import PyTorch; a subclass, such as a parameter, is none."""
    return type(leaf).__module__ == "torch" and type(leaf).__qualname__ == "Tensor"


def why_not(tensor: Carry) -> str | None:
    """Returns why a tensor would not come back as it was, with what to do about it; None if it would."""
    if tensor.requires_grad:
        return "it requires gradients: store tensor.detach(), or subclass TorchMember, which saves modules and optimisers"
    if tensor.device.type != "cpu":
        return f"it is on {tensor.device}: store tensor.cpu(), and move it back in train"
    if str(tensor.layout) != "torch.strided" or tensor.is_quantized:
        return "it is sparse or quantised: store the tensors that it consists of"
    return None


def type_of(tensor: Carry) -> str:
    """Returns the name of a tensor's type, such as "bfloat16"."""
    return str(tensor.dtype).removeprefix("torch.")


def values(tensor: Carry) -> Array:
    """Returns the values of a tensor; types that numpy lacks are whole numbers of the same bits."""
    import torch

    whole = tensor.contiguous().resolve_conj().resolve_neg()
    try:
        found: Array = whole.numpy()
    except TypeError:
        found = whole.view(getattr(torch, _WIDTHS[whole.element_size()])).numpy()
    return found


def tensor(stored: Array, name: str) -> Carry:
    """Returns the tensor whose `values` and `type_of` were stored."""
    import torch

    return torch.from_numpy(np.array(stored)).view(getattr(torch, name))
