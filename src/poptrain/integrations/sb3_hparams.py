"""Where a hyperparameter of Stable-Baselines3 acts: every copy of it that a live algorithm keeps, set and read back.

Setting ``model.learning_rate`` does nothing: the schedule made from it when the algorithm was built is what acts, and every
update writes it into the optimisers. The rollout buffer keeps its own discount and λ, and its own size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isclose
from typing import Any

import torch
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.utils import FloatSchedule

from poptrain.core.errors import UsageError, did_you_mean

ALIASES = {"lr": "learning_rate"}
SCHEDULES = ("clip_range", "clip_range_vf")
PLAIN = (
    "batch_size", "n_epochs", "ent_coef", "vf_coef", "max_grad_norm", "target_kl", "gamma", "gae_lambda", "n_steps", "tau",
    "gradient_steps", "learning_starts", "target_update_interval", "policy_delay", "target_policy_noise", "target_noise_clip",
)  # fmt: skip
WHOLE = ("batch_size", "n_epochs", "n_steps", "gradient_steps", "learning_starts", "target_update_interval", "policy_delay")


def apply_hparams(model: Any, hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Sets hyperparameters in a live algorithm and returns what then acts, by place (``policy.optimizer.lr`` …).

    Raises:
        UsageError: the algorithm has no such hyperparameter, or holds another value afterwards.
    """
    for name, value in hparams.items():
        _set(model, ALIASES.get(name, name), value)
    held = {}
    for name, value in hparams.items():
        for place, found in _held(model, ALIASES.get(name, name)):
            held[place] = found
            if not _equal(found, value):
                raise UsageError(f"{name} was set to {value!r}, but {place} of the live {type(model).__name__} is {found!r}.")
    return held


def read_hparams(model: Any, hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what acts in a live algorithm for each hyperparameter, by place."""
    return dict(found for name in hparams for found in _held(model, ALIASES.get(name, name)))


def changed(model: Any, hparams: Mapping[str, Any]) -> list[str]:
    """Returns the places where a live algorithm holds something else than its hyperparameters."""
    pairs = [(value, found) for name, value in hparams.items() for found in _held(model, ALIASES.get(name, name))]
    return [f"{place} is {found!r} instead of {value!r}" for value, (place, found) in pairs if not _equal(found, value)]


def optimizers(model: Any) -> dict[str, torch.optim.Optimizer]:
    """Returns the optimisers of an algorithm by the names under which it saves them."""
    found = {name: _attribute(model, name) for name in model._get_torch_save_params()[0]}
    return {name: value for name, value in found.items() if isinstance(value, torch.optim.Optimizer)}


def _set(model: Any, name: str, value: Any) -> None:
    _check(model, name)
    if name in WHOLE and isinstance(value, float) and value.is_integer():
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
        _resize(model, value)
    if name == "ent_coef" and hasattr(model, "ent_coef_tensor"):
        model.ent_coef_tensor = torch.full_like(model.ent_coef_tensor, value)


def _check(model: Any, name: str) -> None:
    kind = type(model).__name__
    known = [option for option in ("learning_rate", *SCHEDULES, *PLAIN) if hasattr(model, option)]
    if name not in known:
        raise UsageError(
            f"{name!r} is no hyperparameter that a {kind} can change while it trains: expected some of {', '.join(known)}."
            f"{did_you_mean(name, [*known, *ALIASES])} What `make` uses itself is named in `own`."
        )
    if name == "ent_coef" and getattr(model, "ent_coef_optimizer", None) is not None:
        raise UsageError(f"this {kind} learns its ent_coef: build it with ent_coef=hp['ent_coef'], or do not tune it.")
    if name == "n_steps" and not hasattr(model, "rollout_buffer"):
        raise UsageError(f"n_steps of a {kind} is part of its replay buffer: make it static, and name it in `own`.")


def _resize(model: Any, steps: int) -> None:
    """Gives the algorithm a rollout buffer of another length; between two rollouts it holds nothing."""
    old = model.rollout_buffer
    if old.buffer_size == steps:
        return
    if type(old) not in (RolloutBuffer, DictRolloutBuffer) and not model.rollout_buffer_kwargs:
        raise UsageError(f"n_steps cannot change the size of a {type(old).__name__}: make it static, and name it in `own`.")
    model.rollout_buffer = type(old)(
        steps, model.observation_space, model.action_space, device=model.device, gamma=model.gamma,
        gae_lambda=model.gae_lambda, n_envs=model.n_envs, **model.rollout_buffer_kwargs,
    )  # fmt: skip


def _held(model: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yields every place where a hyperparameter acts, and what is there."""
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


def _buffer(model: Any) -> Any:
    return getattr(model, "rollout_buffer", None) or getattr(model, "replay_buffer", None)


def _attribute(model: Any, path: str) -> Any:
    for name in path.split("."):
        model = getattr(model, name)
    return model


def _equal(a: Any, b: Any) -> bool:
    return isclose(a, b, rel_tol=1e-6) if isinstance(a, float) and isinstance(b, (int, float)) else a == b
