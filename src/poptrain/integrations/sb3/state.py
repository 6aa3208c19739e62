"""What a checkpoint of a Stable-Baselines3 algorithm holds: everything but code, custom objects and the simulator."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from poptrain.integrations.blocks import Blocks
from poptrain.integrations.sb3.hparams import Model, optimizers
from poptrain.integrations.sb3.infos import packed, unpacked
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
WINDOWS = ("ep_info_buffer", "ep_success_buffer")  # of the newest episodes

Buffer = Any  # a replay buffer of Stable-Baselines3
Rows = np.ndarray | Mapping[str, np.ndarray]  # one row a transition; a mapping for dictionary observations


def saved_state(model: Model) -> dict[str, TorchState]:
    """Returns all of the state of an algorithm, in a form that `store` accepts."""
    _, variables = model._get_torch_save_params()
    return {
        "parameters": model.get_parameters(),
        "variables": {name: getattr(model, name) for name in variables if getattr(model, name) is not None},
        "counters": {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)},
        "windows": {name: [_timeless(each) for each in getattr(model, name) or ()] for name in WINDOWS},
        "normalise": [_plain_attributes(part) for part in _running_statistics(model)],
        "replay": _filled_part(getattr(model, "replay_buffer", None)),
    }


def restore(model: Model, state: Mapping[str, TorchState]) -> None:
    """Puts a state that `saved_state` returned into an algorithm that `make` has built."""
    options = [
        (group, {name: value for name, value in group.items() if name != "params"})
        for optimizer in optimizers(model).values()
        for group in optimizer.param_groups
    ]
    model.set_parameters(state["parameters"], exact_match=True, device=model.device)
    live = [group for optimizer in optimizers(model).values() for group in optimizer.param_groups]
    for group, (_, made) in zip(live, options, strict=True):
        group.update(made)  # what `make` chose for this member: weight decay, betas …
    for name, value in state["variables"].items():
        getattr(model, name).data = value.to(model.device)
    for name, value in state["counters"].items():
        setattr(model, name, value)
    for name, items in state["windows"].items():
        setattr(model, name, deque(items, maxlen=model._stats_window_size))
    for part, values in zip(_running_statistics(model), state["normalise"], strict=True):
        vars(part).update(values)
    _refill(getattr(model, "replay_buffer", None), state["replay"])


def _running_statistics(model: Model) -> list[object]:
    """Returns the running means and variances of a ``VecNormalize``, if there is one."""
    env = model.get_vec_normalize_env()
    if env is None:
        return []
    observed = getattr(env, "obs_rms", None)
    return [*(observed.values() if isinstance(observed, dict) else [observed] if observed is not None else []), env.ret_rms]


def _plain_attributes(part: object) -> dict[str, TorchState]:
    return {name: value for name, value in vars(part).items() if is_plain(value)}


def store(state: dict[str, TorchState], directory: Path, blocks: Blocks) -> None:
    """Writes a state into a directory: a replay buffer in blocks, of which only those are written that are new."""
    replay = state["replay"]
    if replay is not None and replay["arrays"]:
        infos = () if replay["infos"] is None else list(replay["infos"].flat)
        index = blocks.write(directory, _flat(replay["arrays"]), replay["capacity"], infos, packed)
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


def _filled_part(buffer: Buffer) -> dict[str, TorchState] | None:
    """Returns the part of a replay buffer that holds transitions; its arrays are not copied."""
    if buffer is None:
        return None
    rows, size = buffer.buffer_size if buffer.full else buffer.pos, buffer.buffer_size
    arrays = {name: _first_rows(value, rows) for name, value in vars(buffer).items() if _has_rows(value, size)}
    others = {name: value for name, value in vars(buffer).items() if name not in arrays and _is_small(value)}
    infos = arrays.pop("infos", None)  # of hindsight replay: an array of dictionaries
    kept = infos if infos is not None and buffer.copy_info_dict else None
    return {"pos": buffer.pos, "full": buffer.full, "capacity": size, "arrays": arrays, "others": others, "infos": kept}


def _refill(buffer: Buffer, saved: Mapping[str, TorchState] | None) -> None:
    if buffer is None or saved is None:
        return
    buffer.pos, buffer.full = saved["pos"], saved["full"]
    live = _flat({name: getattr(buffer, name) for name in saved["arrays"]} if saved["arrays"] else vars(buffer))
    for begin, parts in saved.get("parts") or [(0, _flat(saved["arrays"]))]:
        for name, rows in parts.items():
            live[name][begin : begin + len(rows)] = rows
    for name, value in saved.get("others", {}).items():
        getattr(buffer, name)[...] = value
    if (infos := saved.get("infos")) is not None:
        rows = np.array(infos, object).reshape(-1, buffer.n_envs)
        buffer.infos[: len(rows)] = rows


def _flat(arrays: Mapping[str, object]) -> dict[str, np.ndarray]:
    """Returns arrays by name; those of dictionary observations are ``observations/…``."""
    named = {name: value if isinstance(value, Mapping) else {"": value} for name, value in arrays.items()}
    return {f"{name}/{key}" if key else name: each for name, inner in named.items() for key, each in inner.items()}


def _is_small(value: object) -> bool:
    """True for an array that is not one of transitions, such as where the open episodes begin."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"


def _timeless(entry: Any) -> Any:
    """Returns an episode's entry without the seconds, which differ every time."""
    return {**entry, "t": 0.0} if isinstance(entry, dict) else entry


def _has_rows(value: object, size: int) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(_has_rows(item, size) for item in value.values())
    return isinstance(value, np.ndarray) and value.ndim > 0 and len(value) == size


def _first_rows(value: Rows, count: int) -> Rows:
    return {key: item[:count] for key, item in value.items()} if isinstance(value, Mapping) else value[:count]
