"""Weights and moments of a Stable-Baselines3 algorithm in a copy: those of the parent, with the options of the copy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import torch
from torch.optim import Optimizer

from poptrain.core.errors import UsageError
from poptrain.core.warned import warn_user
from poptrain.integrations.sb3.hparams import Model
from poptrain.integrations.torch.state import TorchState

MOMENTS = {"amsgrad": "max_exp_avg_sq", "centered": "grad_avg", "momentum": "momentum_buffer"}  # that an option asks for
STATIC = "A hyperparameter that changes the networks must be static=True."


def put_parameters(model: Model, saved: Mapping[str, TorchState], kinds: Mapping[str, str]) -> None:
    """Puts the weights and the moments of the optimisers into an algorithm that `make` has built.

    Args:
        model: the algorithm.
        saved: as ``get_parameters`` returned it.
        kinds: the classes of the optimisers, by the same names; those of an older checkpoint are unknown.

    Raises:
        UsageError: the weights are those of other networks.
    """
    live = {path: reduce(getattr, path.split("."), model) for path in model._get_torch_save_params()[0]}
    for path in dict.fromkeys([*saved, *live]):
        part = live.get(path)
        if path in saved and isinstance(part, Optimizer):
            _put_moments(part, saved[path], kinds.get(path), path)
        elif path in saved and part is not None:
            _put_weights(part, saved[path], path)
        elif not isinstance(part, Optimizer) and "param_groups" not in saved.get(path, {}):  # one that learns ent_coef may be new
            raise UsageError(f"{path} is missing in {'the checkpoint' if part is not None else 'what make() built'}. {STATIC}")


def _put_weights(part: torch.nn.Module, saved: Mapping[str, torch.Tensor], path: str) -> None:
    mine = part.state_dict()
    for name in [*mine, *saved]:
        before, now = _shape(saved, name), _shape(mine, name)
        if before != now:
            raise UsageError(f"{path}.{name} is {before} in the checkpoint, but make() built {now}. {STATIC}")
    part.load_state_dict(saved)


def _put_moments(optimizer: Optimizer, saved: TorchState, kind: str | None, path: str) -> None:
    here = type(optimizer).__name__
    if kind not in (None, here):
        text = f"{path} of a copy is {here}, and {kind} in its parent: its moments begin at zero."
        warn_user(text, RuntimeWarning)
        return
    made = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    try:
        optimizer.load_state_dict(saved)
    except ValueError as error:
        raise UsageError(f"{path} of the checkpoint has other parameter groups than make() built: {error}. {STATIC}") from error
    for group, options in zip(optimizer.param_groups, made, strict=True):
        group.update(options)  # what `make` chose for this member: weight decay, betas ...
        for weight in group["params"]:
            moments = optimizer.state.get(weight)
            for option, name in MOMENTS.items() if moments else ():
                if group.get(option) and moments.get(name) is None:
                    moments[name] = torch.zeros_like(weight)


def _shape(state: Mapping[str, torch.Tensor], name: str) -> str:
    return f"of shape {tuple(state[name].shape)}" if name in state else "absent"
