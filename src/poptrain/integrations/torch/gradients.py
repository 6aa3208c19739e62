"""Gradients that are still to be used: those of an accumulation that the end of an interval has cut.

Most programs leave the gradients of the last step in place until they zero them before the next one. Those are not state, and as
large as the model. So each step marks the gradients that it has used; what a backward pass has added since is pending.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from poptrain.integrations.torch.tree import Tree

HOOKED, USED = "_poptrain_hooked", "_poptrain_used"  # attributes: of an optimiser, and of a gradient with its version


def watch(optimizers: Iterable[Optimizer]) -> None:
    """Lets these optimisers mark the gradients that they use."""
    for optimizer in optimizers:
        if not hasattr(optimizer, HOOKED):
            optimizer.register_step_post_hook(_mark)
            setattr(optimizer, HOOKED, True)


def read_gradients(optimizers: Mapping[str, Optimizer]) -> dict[str, Tree]:
    """Returns the pending gradients of each optimiser by path, in the order of its parameters; None for one that has none."""
    found = {path: [_pending(weight) for weight in _weights(optimizer)] for path, optimizer in optimizers.items()}
    return {path: gradients for path, gradients in found.items() if any(each is not None for each in gradients)}


def put_gradients(optimizers: Mapping[str, Optimizer], saved: Mapping[str, Tree]) -> None:
    """Puts pending gradients into the parameters of these optimisers."""
    for path, gradients in saved.items():
        weights = _weights(optimizers[path]) if path in optimizers else []
        for weight, gradient in zip(weights, gradients, strict=False):
            if gradient is not None and gradient.shape == weight.shape:
                weight.grad = gradient.to(weight.device, weight.dtype, copy=True)


def _weights(optimizer: Optimizer) -> list[torch.Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _mark(optimizer: Optimizer, *_: Any) -> None:
    for weight in _weights(optimizer):
        if weight.grad is not None:
            setattr(weight.grad, USED, weight.grad._version)


def _pending(weight: torch.Tensor) -> torch.Tensor | None:
    gradient = weight.grad
    if gradient is None or getattr(gradient, USED, None) == gradient._version or gradient.layout is not torch.strided:
        return None
    return gradient.detach() if bool(gradient.any()) else None
