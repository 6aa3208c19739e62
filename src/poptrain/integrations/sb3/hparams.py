"""Where a hyperparameter of Stable-Baselines3 takes effect: a live algorithm keeps several copies, all set and read back.

Setting ``model.learning_rate`` does nothing: the schedule that was made from it when the algorithm was built is what counts,
and every update writes it into the optimisers. The rollout buffer keeps its own discount and λ, and its own size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from math import isclose
from typing import Any

import torch
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.utils import FloatSchedule
from torch.optim import Optimizer

from poptrain.core.errors import UsageError, did_you_mean

Model = Any  # an algorithm of Stable-Baselines3: which attributes it has depends on its class

ALIASES = {"lr": "learning_rate"}
SCHEDULES = ("clip_range", "clip_range_vf")  # functions of the remaining progress
ATTRIBUTES = {  # read at every update; True: a whole number
    "batch_size": True,
    "n_epochs": True,
    "ent_coef": False,
    "vf_coef": False,
    "max_grad_norm": False,
    "target_kl": False,
    "gamma": False,
    "gae_lambda": False,
    "n_steps": True,
    "tau": False,
    "gradient_steps": True,
    "learning_starts": True,
    "target_update_interval": True,
    "policy_delay": True,
    "target_policy_noise": False,
    "target_noise_clip": False,
}


def apply_hparams(model: Model, hparams: Mapping[str, object]) -> dict[str, object]:
    """Sets hyperparameters in a live algorithm and returns its values by place (``policy.optimizer[0].lr`` …).

    Raises:
        UsageError: the algorithm has no such hyperparameter, or holds another value afterwards.
    """
    for name, value in hparams.items():
        _set(model, ALIASES.get(name, name), value)
    held = {}
    for name, value in hparams.items():
        for place, found in _held(model, ALIASES.get(name, name)):
            held[place] = found
            if not _same(found, value):
                raise UsageError(f"{name} was set to {value!r}, but {place} of the live {type(model).__name__} is {found!r}.")
    return held


def read_hparams(model: Model, hparams: Mapping[str, object]) -> dict[str, object]:
    """Returns the values that a live algorithm uses for each hyperparameter, by place."""
    return dict(found for name in hparams for found in _held(model, ALIASES.get(name, name)))


def changed(model: Model, hparams: Mapping[str, object]) -> list[str]:
    """Returns the places where a live algorithm holds another value than its hyperparameters have."""
    pairs = [(value, found) for name, value in hparams.items() for found in _held(model, ALIASES.get(name, name))]
    return [f"{place} is {found!r} instead of {value!r}" for value, (place, found) in pairs if not _same(found, value)]


def optimizers(model: Model) -> dict[str, Optimizer]:
    """Returns the optimisers of an algorithm by the names under which it saves them."""
    found = {path: reduce(getattr, path.split("."), model) for path in model._get_torch_save_params()[0]}
    return {path: value for path, value in found.items() if isinstance(value, Optimizer)}


def _set(model: Model, name: str, value: Any) -> None:
    _check_tunable(model, name)
    if ATTRIBUTES.get(name) and isinstance(value, float) and value.is_integer():
        value = int(value)
    if name == "learning_rate":
        model.learning_rate = value
        model.lr_schedule = FloatSchedule(value)
        for optimizer in optimizers(model).values():
            for group in optimizer.param_groups:
                group["lr"] = value
        return
    setattr(model, name, FloatSchedule(value) if name in SCHEDULES else value)
    buffer = _buffer(model)
    if name in ("gamma", "gae_lambda") and hasattr(buffer, name):
        setattr(buffer, name, value)
    if name == "n_steps":
        _resize_rollout(model, value)
    if name == "ent_coef" and hasattr(model, "ent_coef_tensor"):
        model.ent_coef_tensor = torch.full_like(model.ent_coef_tensor, value)


def _check_tunable(model: Model, name: str) -> None:
    kind = type(model).__name__
    known = [option for option in ("learning_rate", *SCHEDULES, *ATTRIBUTES) if hasattr(model, option)]
    if name not in known:
        raise UsageError(
            f"{name!r} is not a hyperparameter that a {kind} can change while it trains: expected one of {', '.join(known)}."
            f"{did_you_mean(name, [*known, *ALIASES])} A hyperparameter that `make` uses must be named in `own`."
        )
    if name == "ent_coef" and getattr(model, "ent_coef_optimizer", None) is not None:
        raise UsageError(f"this {kind} learns its ent_coef: build it with ent_coef=hp['ent_coef'], or do not tune it.")
    if name == "n_steps" and not hasattr(model, "rollout_buffer"):
        raise UsageError(f"n_steps of a {kind} is part of its replay buffer: make it static, and name it in `own`.")


def _resize_rollout(model: Model, steps: int) -> None:
    """Replaces the rollout buffer by one of another length; between two rollouts it is empty."""
    old = model.rollout_buffer
    if old.buffer_size == steps:
        return
    if type(old) not in (RolloutBuffer, DictRolloutBuffer) and not model.rollout_buffer_kwargs:
        raise UsageError(f"n_steps cannot change the size of a {type(old).__name__}: make it static, and name it in `own`.")
    model.rollout_buffer = type(old)(
        steps,
        model.observation_space,
        model.action_space,
        device=model.device,
        gamma=model.gamma,
        gae_lambda=model.gae_lambda,
        n_envs=model.n_envs,
        **model.rollout_buffer_kwargs,
    )


def _held(model: Model, name: str) -> Iterator[tuple[str, object]]:
    """Yields every place where a hyperparameter takes effect, and its value there."""
    if name == "learning_rate":
        for progress in (1.0, 0.0):  # a schedule that is not constant differs between its ends
            yield f"lr_schedule({progress:g})", model.lr_schedule(progress)
        for owner, optimizer in optimizers(model).items():
            for index, group in enumerate(optimizer.param_groups):
                yield f"{owner}[{index}].lr", group["lr"]
        return
    if name in SCHEDULES:
        for progress in (1.0, 0.0):
            yield f"{name}({progress:g})", getattr(model, name)(progress)
        return
    yield name, getattr(model, name)
    buffer = _buffer(model)
    if name in ("gamma", "gae_lambda") and hasattr(buffer, name):
        yield f"buffer.{name}", getattr(buffer, name)
    if name == "n_steps":
        yield "buffer.buffer_size", buffer.buffer_size
    if name == "ent_coef" and hasattr(model, "ent_coef_tensor"):
        yield "ent_coef_tensor", float(model.ent_coef_tensor)


def _buffer(model: Model) -> Any:
    return getattr(model, "rollout_buffer", None) or getattr(model, "replay_buffer", None)


def _same(held: object, wanted: object) -> bool:
    if isinstance(held, float) and isinstance(wanted, (int, float)):
        return isclose(held, wanted, rel_tol=1e-6)
    return held == wanted
