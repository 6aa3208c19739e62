"""Layers that a callback has unfrozen stay so in the next interval.

Lightning's `BaseFinetuning` freezes its layers whenever a fit begins, also one that goes on from a checkpoint, and unfreezes them
only at one epoch. After that epoch, a fit that goes on would train the rest of the module alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import BaseFinetuning

Unfrozen = Mapping[str, Sequence[str]]  # names of parameters that are trained, and of layers whose statistics move


def unfrozen(module: LightningModule, callbacks: Sequence[Callback]) -> Unfrozen | None:
    """Returns what of a module is trained; None if no callback freezes and unfreezes layers."""
    if not any(isinstance(each, BaseFinetuning) for each in callbacks):
        return None
    return {
        "parameters": [name for name, parameter in module.named_parameters() if parameter.requires_grad],
        "statistics": [name for name, part in module.named_modules() if getattr(part, "track_running_stats", False)],
    }


def unfreeze(module: LightningModule, found: Unfrozen | None) -> None:
    """Lets a module train what `unfrozen` found; what it trains in addition is left alone."""
    if found is None:
        return
    parameters, parts = dict(module.named_parameters()), dict(module.named_modules())
    for name in found["parameters"]:
        if name in parameters:
            parameters[name].requires_grad = True
    for name in found["statistics"]:
        if name in parts:
            parts[name].track_running_stats = True
