"""What is around a Stable-Baselines3 algorithm and has a state of its own: attributes of the member, callbacks, action noise,
fields of algorithms and buffers of the user's own classes, and what wrappers of environments have counted.

Each of these is an *owner*: an object whose attributes are read one by one, under a path. So the state is a flat mapping of paths
to values, and `Contents` of the PyTorch adapter does the rest: objects of the user's code, modules and optimisers in them, and
what of it a copy with other values takes over.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.noise import ActionNoise, VectorizedActionNoise
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from poptrain.core.errors import UsageError
from poptrain.integrations.sb3.hparams import SCHEDULES, Model, optimizers, wrappers
from poptrain.integrations.sb3.state import COUNTERS, NORMALISERS, WINDOWS
from poptrain.integrations.torch.contents import Contents
from poptrain.integrations.torch.parts import REGISTRIES
from poptrain.integrations.torch.tree import PLAIN, Live, Tree, classes_near, is_users

Owners = dict[str, Live]  # objects by path
Callback = Any  # a callback, a list of them, or a function: what ``learn`` accepts
BUILT = {  # what `make` decides about an algorithm, and what is stored elsewhere
    *SCHEDULES, *COUNTERS, *WINDOWS, "learning_rate", "lr_schedule", "train_freq", "ent_coef_tensor", "log_ent_coef",
    "policy_kwargs", "seed", "verbose", "tensorboard_log", "device", "start_time", "n_envs", "env",
}  # fmt: skip
BUFFER = {"pos", "full", "buffer_size", "observation_space", "action_space", "obs_shape", "action_dim", "device", "n_envs", "env"}
OF_WRAPPERS = ("_action_space", "_observation_space", "_metadata", "_np_random")  # what Gymnasium gives a wrapper
OF_LEARN = {"model", "training_env", "locals", "globals", "parent", "verbose", "eval_env"}  # what ``learn`` gives a callback


class Surroundings:
    """The state around an algorithm.

    Args:
        member: whose attributes are meant.
        model: its algorithm.
        callback: of the member.
        common: True if the callback is that of the class, so that all members have its lists and dicts in common.
    """

    def __init__(self, member: Live, model: Model, callback: Callback, common: bool):
        self._cls = type(member)
        self._owners = _owners(member, model, callback)
        ours = {id(owner): path for path, owner in self._owners.items()}
        stored = [*model.policy.modules(), *optimizers(model).values(), *model.policy.parameters(), *model.policy.buffers()]
        known = ours | {id(each): f"model/{at}" for at, each in enumerate(stored)}
        skipped = (BaseAlgorithm, BaseCallback, BaseBuffer, VecEnv, gymnasium.Env, ActionNoise)
        self._attributes: dict[str, Live] = {
            f"{path}/{name}": value
            for path, owner in self._owners.items()
            for name, value in vars(owner).items()
            if _is_state(owner, name, value, common and path.startswith("callback"))
            and id(value) not in known
            and not isinstance(value, skipped)
        }
        self._contents = Contents(self._attributes, {}, known)

    def read(self) -> dict[str, Tree]:
        """Returns the state."""
        return self._contents.read()

    def outline(self) -> dict[str, Tree]:
        """Returns what `put` must know of the parent, if it was made with other values."""
        return self._contents.outline()

    def put(self, state: Mapping[str, Tree], built: Mapping[str, Tree] | None) -> None:
        """Puts in the state of another member. What belongs to an owner that only training has made is left to training."""
        here = {**state, **{kind: self._of_owners(state[kind]) for kind in ("values", "parts", "optimizers", "schedulers")}}
        hint = "A hyperparameter that changes what make() builds must be static=True."
        before = dict(self._attributes)
        self._contents.put(here, built, self.outline(), classes_near(self._cls), hint)
        for name, value in self._attributes.items():
            if name not in before or before[name] is not value:
                owner, _, attribute = name.rpartition("/")
                setattr(self._owners[owner], attribute, value)

    def _of_owners(self, trees: Mapping[str, Tree]) -> dict[str, Tree]:
        return {path: tree for path, tree in trees.items() if path.rpartition("/")[0] in self._owners}


def callbacks_of(member: Live) -> list[BaseCallback]:
    """Returns the callbacks of a member, in the form that a list of callbacks needs."""
    found = member.callback
    every = found if isinstance(found, (list, tuple)) else [] if found is None else [found]
    return [each if isinstance(each, BaseCallback) else ConvertCallback(each) for each in every]


def own_callback(callback: Callback) -> Callback:
    """Returns a callback of a class for one member: its numbers are the member's own, its lists and dicts are common to all."""
    if isinstance(callback, (list, tuple)):
        return [own_callback(each) for each in callback]
    if not isinstance(callback, BaseCallback):
        return callback
    mine = copy.copy(callback)
    for name, value in vars(mine).items():
        inner = isinstance(value, BaseCallback) and name != "parent"
        if inner or (isinstance(mine, CallbackList) and name == "callbacks"):
            vars(mine)[name] = own_callback(value)
    return mine


def seed_evaluations(member: Live, model: Model, callback: Callback) -> None:
    """Seeds the environments that only evaluate, in attributes and callbacks, from the random stream of the member."""
    training = set(map(id, [*wrappers(model), *(env for _, env in _environments(model))]))
    owners = {"": member, **dict(_callbacks("callback", callback))}
    found = [value for owner in owners.values() for value in vars(owner).values() if isinstance(value, (VecEnv, gymnasium.Env))]
    for env in {id(each): each for each in found if id(each) not in training}.values():
        seed = int(np.random.randint(2**31))
        if isinstance(env, VecEnv):
            env.seed(seed)
        else:
            env.reset(seed=seed)


def check_environments(model: Model) -> None:
    """Raises a `UsageError` if environments in other processes keep statistics that a checkpoint cannot hold."""
    inner = list(wrappers(model))[-1]
    for kind in NORMALISERS if not hasattr(inner, "envs") else ():
        if any(inner.env_is_wrapped(kind)):
            raise UsageError(
                f"the environments of {type(inner).__name__} have a {kind.__name__}, whose statistics a checkpoint cannot hold: "
                "use VecNormalize around the vectorised environment, or DummyVecEnv."
            )


def _owners(member: Live, model: Model, callback: Callback) -> Owners:
    noise = getattr(model, "action_noise", None)
    if noise is not None and model.n_envs > 1 and not isinstance(noise, VectorizedActionNoise):
        noise = model.action_noise = VectorizedActionNoise(noise, model.n_envs)  # as ``learn`` does
    noises = noise.noises if isinstance(noise, VectorizedActionNoise) else [] if noise is None else [noise]
    found: Owners = {"member": member, "model": model}
    found |= {f"noise.{at}": each for at, each in enumerate(noises)}
    if (buffer := getattr(model, "replay_buffer", None)) is not None:
        found["buffer"] = buffer
    found |= {f"policy.{name}": module for name, module in model.policy.named_modules() if is_users(type(module))}
    found |= dict(_callbacks("callback", callback))
    for name, value in vars(member).items():
        if name not in ("model", "callback") and not name.startswith("_"):
            found |= dict(_callbacks(f"callback of {name}", value))
    found |= dict(_environments(model))
    return found


def _callbacks(path: str, value: Callback) -> Iterator[tuple[str, BaseCallback]]:
    """Yields the callbacks in a value, and those inside them."""
    if isinstance(value, BaseCallback):
        yield path, value
        for name, inner in vars(value).items():
            if name not in OF_LEARN:
                yield from _callbacks(f"{path}.{name}", inner)
    elif isinstance(value, (list, tuple)):
        for at, inner in enumerate(value):
            yield from _callbacks(f"{path}.{at}", inner)


def _environments(model: Model) -> Iterator[tuple[str, Live]]:
    """Yields wrappers that may count something, and what they count with; simulators only have numbers."""
    chain = list(wrappers(model))
    found = [(f"env.{at}", env) for at, env in enumerate(chain) if isinstance(env, VecEnvWrapper) and is_users(type(env))]
    for number, env in enumerate(getattr(chain[-1], "envs", ())):
        depth = 0
        while env is not None:
            if isinstance(env, NORMALISERS) or is_users(type(env)):
                found.append((f"env.{number}.{depth}", env))
            env, depth = env.env if isinstance(env, gymnasium.Wrapper) else None, depth + 1
    for path, env in found:
        yield path, env
        for name, value in vars(env).items():
            if {"mean", "var", "count"} <= getattr(value, "__dict__", {}).keys():
                yield f"{path}.{name}", value


def _is_state(owner: Live, name: str, value: Live, common: bool) -> bool:
    """True for an attribute that may be state and is not stored elsewhere."""
    if common or (isinstance(owner, gymnasium.Env) and not isinstance(owner, gymnasium.Wrapper)):
        return type(value) in PLAIN and name not in OF_LEARN
    if isinstance(owner, BaseAlgorithm):
        return name not in BUILT and not name.startswith(("_last", "_logger", "_vec_normalize_env", "_custom_logger"))
    if isinstance(owner, BaseBuffer):
        return name not in BUFFER and not isinstance(value, (np.ndarray, dict))
    if isinstance(owner, BaseCallback):
        return name not in OF_LEARN
    if isinstance(owner, (gymnasium.Wrapper, VecEnvWrapper)):
        return name not in ("env", "venv") and not name.startswith(OF_WRAPPERS)
    if hasattr(owner, "named_modules"):
        return name not in REGISTRIES and (type(value) in PLAIN or isinstance(value, np.ndarray))  # no objects of one step
    return not name.startswith("_") if hasattr(owner, "make") else True
