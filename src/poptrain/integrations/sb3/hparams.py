"""Where a hyperparameter of Stable-Baselines3 takes effect: a live algorithm keeps several copies, all set and read back.

Setting ``model.learning_rate`` does nothing: the schedule that was made from it when the algorithm was built is what counts,
and every update writes it into the optimisers. Buffers keep their own discount, λ, size and number of steps, the normaliser of
the rewards its own discount, and the exploration of DQN is a schedule of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import Any

import torch
from stable_baselines3.common.buffers import DictRolloutBuffer, NStepReplayBuffer, RolloutBuffer
from stable_baselines3.common.utils import FloatSchedule, LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize
from torch.optim import Optimizer

from poptrain.core.errors import UsageError, did_you_mean
from poptrain.integrations.adapter import Place, same_value

Model = Any  # an algorithm of Stable-Baselines3: which attributes it has depends on its class

ALIASES = {"lr": "learning_rate"}
SCHEDULES = ("clip_range", "clip_range_vf")  # functions of the remaining progress
PROBES = 100  # a schedule may be equal at both ends, such as one with a warm-up
EXPLORATION = {"exploration_initial_eps": "start", "exploration_final_eps": "end", "exploration_fraction": "end_fraction"}
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
    "top_quantiles_to_drop_per_net": True,
    "train_freq": True,
    **dict.fromkeys(EXPLORATION, False),
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
            if not same_value(found, value):
                raise UsageError(f"{name} was set to {value!r}, but {place} of the live {type(model).__name__} is {found!r}.")
    return held


def read_hparams(model: Model, hparams: Mapping[str, object]) -> dict[str, object]:
    """Returns the values that a live algorithm uses for each hyperparameter, by place."""
    return dict(found for name in hparams for found in _held(model, ALIASES.get(name, name)))


def places(model: Model, hparams: Mapping[str, object]) -> list[Place]:
    """Returns the places of a live algorithm at which hyperparameters take effect."""
    return [Place(name, place, held) for name in hparams for place, held in _held(model, ALIASES.get(name, name))]


def check_names(who: str, names: Iterable[str], excused: Iterable[str]) -> None:
    """Raises a `UsageError` if no algorithm has a hyperparameter of such a name.

    Args:
        excused: names that the user's own code reads.
    """
    known = ("learning_rate", *SCHEDULES, *ATTRIBUTES, *ALIASES)
    for name in names:
        if name not in known and name.partition(".")[0] not in excused:
            raise UsageError(
                f"{who}: {name!r} is not a hyperparameter of Stable-Baselines3 that can change while it trains, and make() does "
                f"not read it.{did_you_mean(name, known)} Use hp[{name.partition('.')[0]!r}] in make, or name it in `own`."
            )


def is_tunable(model: Model, name: str) -> bool:
    """True if the algorithm has a hyperparameter of this name that can change while it trains."""
    name = ALIASES.get(name, name)
    return name in ("learning_rate", *SCHEDULES, *ATTRIBUTES) and hasattr(model, name)


def is_scheduled(model: Model, name: str) -> bool:
    """True if the user's own function of the remaining progress decides the value."""
    name = ALIASES.get(name, name)
    schedule = model.lr_schedule if name == "learning_rate" else getattr(model, name, None) if name in SCHEDULES else None
    return callable(schedule) and len({schedule(at / PROBES) for at in range(PROBES + 1)}) > 1


def optimizers(model: Model) -> dict[str, Optimizer]:
    """Returns the optimisers of an algorithm by the names under which it saves them."""
    found = {path: reduce(getattr, path.split("."), model) for path in model._get_torch_save_params()[0]}
    return {path: value for path, value in found.items() if isinstance(value, Optimizer)}


def wrappers(model: Model) -> Iterator[VecEnv]:
    """Yields the vectorised environment of an algorithm and everything inside its wrappers, from the outside."""
    env = model.env
    while env is not None:
        yield env
        env = env.venv if isinstance(env, VecEnvWrapper) else None


def normalisers(model: Model) -> list[VecNormalize]:
    """Returns the normalisers of observations and rewards, from the outside."""
    return [env for env in wrappers(model) if isinstance(env, VecNormalize)]


def _set(model: Model, name: str, value: Any) -> None:
    _check_tunable(model, name, value)
    if ATTRIBUTES.get(name) and isinstance(value, float) and value.is_integer():
        value = int(value)
    if name == "learning_rate":
        model.learning_rate = value
        model.lr_schedule = FloatSchedule(value)
        for optimizer in optimizers(model).values():
            for group in optimizer.param_groups:
                group["lr"] = value
        return
    old_frequency = getattr(model, "train_freq", None)
    setattr(model, name, FloatSchedule(value) if name in SCHEDULES and value is not None else value)
    buffer = _buffer(model)
    if name in ("gamma", "gae_lambda") and hasattr(buffer, name):
        setattr(buffer, name, value)
    for normaliser in normalisers(model) if name == "gamma" else ():
        normaliser.gamma = value  # of the returns whose spread scales the rewards
    if name == "n_steps" and hasattr(model, "rollout_buffer"):
        _resize_rollout(model, value)
    elif name == "n_steps" and isinstance(buffer, NStepReplayBuffer):
        buffer.n_steps = value
    if name == "train_freq":
        model.train_freq = old_frequency._replace(frequency=value)
    if name == "ent_coef" and hasattr(model, "ent_coef_tensor"):  # a fixed one
        model.ent_coef_tensor = torch.full_like(model.ent_coef_tensor, value)
    if name in EXPLORATION:
        model.exploration_schedule = LinearSchedule(*(getattr(model, each) for each in EXPLORATION))


def _check_tunable(model: Model, name: str, value: object) -> None:
    kind = type(model).__name__
    known = [option for option in ("learning_rate", *SCHEDULES, *ATTRIBUTES) if hasattr(model, option)]
    if name not in known:
        path = "".join(f"[{part!r}]" for part in name.split("."))
        raise UsageError(
            f"{name!r} is not a hyperparameter that a {kind} can change while it trains: expected one of {', '.join(known)}."
            f"{did_you_mean(name, [*known, *ALIASES])} Use it in `make` as hp{path}; one that only `score` uses must be "
            "named in `own`."
        )
    if is_scheduled(model, name):
        raise UsageError(
            f"this {kind} has a schedule of its own for {name}, which a value of the space would replace: build the schedule "
            f"with hp[{name!r}], or remove {name!r} from the space."
        )
    learns = getattr(model, "ent_coef_optimizer", None) is not None
    if name == "ent_coef" and (learns or isinstance(value, str)) and model.ent_coef != value:
        does = "learns" if learns else "does not learn"
        raise UsageError(f"this {kind} {does} its ent_coef: build it with ent_coef=hp['ent_coef'], or do not tune it.")
    if name == "n_steps" and not (
        hasattr(model, "rollout_buffer") or isinstance(_buffer(model), NStepReplayBuffer) or value == 1
    ):
        raise UsageError(f"this {kind} has no n-step replay buffer: build it with n_steps=hp['n_steps'], from 2.")


def _resize_rollout(model: Model, steps: int) -> None:
    """Replaces the rollout buffer by one of another length; between two rollouts it is empty."""
    old = model.rollout_buffer
    if old.buffer_size == steps:
        return
    options = dict(getattr(model, "rollout_buffer_kwargs", {}))
    if hasattr(old, "hidden_state_shape"):  # of a recurrent policy
        options["hidden_state_shape"] = (steps, *old.hidden_state_shape[1:])
    elif type(old) not in (RolloutBuffer, DictRolloutBuffer) and not options:
        raise UsageError(f"n_steps cannot change the size of a {type(old).__name__}: build it with n_steps=hp['n_steps'].")
    model.rollout_buffer = type(old)(
        steps,
        model.observation_space,
        model.action_space,
        device=model.device,
        gamma=model.gamma,
        gae_lambda=model.gae_lambda,
        n_envs=model.n_envs,
        **options,
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
    if name in SCHEDULES and getattr(model, name) is not None:
        for progress in (1.0, 0.0):
            yield f"{name}({progress:g})", getattr(model, name)(progress)
        return
    yield name, model.train_freq.frequency if name == "train_freq" else getattr(model, name)
    buffer = _buffer(model)
    if name in ("gamma", "gae_lambda") and hasattr(buffer, name):
        yield f"buffer.{name}", getattr(buffer, name)
    for at, normaliser in enumerate(normalisers(model) if name == "gamma" else ()):
        yield f"vec_normalize{f'[{at}]' if at else ''}.gamma", normaliser.gamma
    if name == "n_steps" and hasattr(model, "rollout_buffer"):
        yield "buffer.buffer_size", buffer.buffer_size
    elif name == "n_steps" and hasattr(buffer, name):
        yield "buffer.n_steps", buffer.n_steps
    if name in EXPLORATION:
        yield f"exploration_schedule.{EXPLORATION[name]}", getattr(model.exploration_schedule, EXPLORATION[name])
    if name == "ent_coef" and hasattr(model, "ent_coef_tensor"):
        yield "ent_coef_tensor", float(model.ent_coef_tensor)


def _buffer(model: Model) -> Any:
    return getattr(model, "rollout_buffer", None) or getattr(model, "replay_buffer", None)
