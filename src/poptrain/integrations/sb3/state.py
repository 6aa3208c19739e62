"""What a checkpoint of a Stable-Baselines3 algorithm holds: everything but code, custom objects and the simulator."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.wrappers import NormalizeObservation, NormalizeReward

from poptrain.core.errors import UsageError
from poptrain.integrations.blocks import Blocks
from poptrain.integrations.sb3.hparams import Model, is_scheduled, normalisers, optimizers, wrappers
from poptrain.integrations.sb3.infos import packed, unpacked
from poptrain.integrations.sb3.parameters import put_parameters
from poptrain.integrations.sb3.replay import filled_part, flat, refill
from poptrain.integrations.torch.state import TorchState, is_plain, load_state, save_state

COUNTERS = (
    "num_timesteps",
    "_num_timesteps_at_start",
    "_total_timesteps",
    "_current_progress_remaining",
    "_n_updates",
    "_n_calls",
    "_episode_num",
    "exploration_rate",
)
NORMALISERS = (NormalizeObservation, NormalizeReward)  # of Gymnasium
WINDOWS = ("ep_info_buffer", "ep_success_buffer")  # of the newest episodes


def saved_state(model: Model) -> dict[str, TorchState]:
    """Returns all of the state of an algorithm, in a form that `store` accepts."""
    _, variables = model._get_torch_save_params()
    statistics = _running_statistics(model)
    return {
        "parameters": model.get_parameters(),
        "kinds": {path: type(optimizer).__name__ for path, optimizer in optimizers(model).items()},
        "variables": {name: getattr(model, name) for name in variables if getattr(model, name) is not None},
        "counters": {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)},
        "windows": {name: [_timeless(each) for each in getattr(model, name) or ()] for name in WINDOWS},
        "normalise": [_plain_attributes(part) for part in statistics.values()],
        "normalisers": [*statistics, *_wrapped(model)],
        "replay": filled_part(getattr(model, "replay_buffer", None)),
    }


def restore(model: Model, state: Mapping[str, TorchState]) -> None:
    """Puts a state that `saved_state` returned into an algorithm that `make` has built.

    Raises:
        UsageError: the state is that of an algorithm of another structure.
    """
    statistics = _running_statistics(model)
    _check_normalisers([*statistics, *_wrapped(model)], state.get("normalisers"))
    put_parameters(model, state["parameters"], state.get("kinds", {}))
    for name, value in state["variables"].items():
        live = getattr(model, name, None)
        if live is not None and live.requires_grad:  # a fixed value is a matter of the hyperparameters
            live.data = value.detach().to(model.device)
    for name, value in state["counters"].items():
        setattr(model, name, value)
    if is_scheduled(model, "learning_rate") and getattr(model, "_n_updates", 0):
        for optimizer in optimizers(model).values():
            for group in optimizer.param_groups:
                group["lr"] = model.lr_schedule(model._current_progress_remaining)
    for name, items in state["windows"].items():
        setattr(model, name, deque(items, maxlen=model._stats_window_size))
    for part, values in zip(statistics.values(), state["normalise"], strict=False):
        vars(part).update(values)
    refill(getattr(model, "replay_buffer", None), state["replay"])


def _running_statistics(model: Model) -> dict[str, object]:
    """Returns the running means and variances of every ``VecNormalize``, by what they are of."""
    found: dict[str, object] = {}
    for number, env in enumerate(normalisers(model)):
        name = f"VecNormalize {number}" if number else "VecNormalize"
        observed = getattr(env, "obs_rms", None)
        if isinstance(observed, dict):
            found |= {f"{name} of observations[{key!r}]": each for key, each in observed.items()}
        elif observed is not None:
            found[f"{name} of observations"] = observed
        found[f"{name} of returns"] = env.ret_rms
    return found


def _wrapped(model: Model) -> list[str]:
    """Returns the names of Gymnasium's normalisers around the first simulator."""
    env = next(iter(getattr(list(wrappers(model))[-1], "envs", ())), None)
    names = []
    while isinstance(env, gymnasium.Wrapper):
        names += [type(env).__name__] * isinstance(env, NORMALISERS)
        env = env.env
    return names


def _check_normalisers(here: Sequence[str], stored: Sequence[str] | None) -> None:
    """Raises a `UsageError` for a checkpoint with other normalisers; those of older versions do not say which they had."""
    if stored is not None and list(stored) != list(here):
        raise UsageError(
            f"the checkpoint has the statistics of {', '.join(stored) or 'no normaliser'}, and a member with these values has "
            f"{', '.join(here) or 'none'}. A hyperparameter that changes the wrappers of the environment must be static=True."
        )


def _plain_attributes(part: object) -> dict[str, TorchState]:
    return {name: value for name, value in vars(part).items() if is_plain(value)}


def store(state: dict[str, TorchState], directory: Path, blocks: Blocks) -> None:
    """Writes a state into a directory: a replay buffer in blocks, of which only those are written that are new."""
    replay = state["replay"]
    if replay is not None and replay["arrays"]:
        infos = () if replay["infos"] is None else list(replay["infos"].flat)
        index = blocks.write(directory, flat(replay["arrays"]), replay["capacity"], infos, packed)
        state = {**state, "replay": {**replay, "arrays": {}, "infos": None, "blocks": index}}
    save_state(state, directory)


def stored(directory: Path, blocks: Blocks) -> dict[str, TorchState]:
    """Returns what `store` wrote, or an earlier version of it; the blocks are read when `restore` needs them."""
    state: dict[str, TorchState] = load_state(directory)
    if state["replay"] is not None and "blocks" in state["replay"]:
        index = state["replay"]["blocks"]
        more = {"infos": blocks.read_objects(directory, index, unpacked)} if index.get("objects") else {}
        state["replay"] = {**state["replay"], **more, "parts": blocks.read(directory, index)}
    return state


def _timeless(entry: Any) -> Any:
    """Returns an episode's entry without the seconds, which differ every time."""
    return {**entry, "t": 0.0} if isinstance(entry, dict) else entry
