"""The replay buffer of a Stable-Baselines3 algorithm: the part that holds transitions, and how a buffer is filled again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.integrations.torch.state import TorchState

Buffer = Any  # a replay buffer of Stable-Baselines3
Rows = np.ndarray | Mapping[str, np.ndarray]  # one row a transition; a mapping for dictionary observations


def filled_part(buffer: Buffer) -> dict[str, TorchState] | None:
    """Returns the part of a replay buffer that holds transitions; its arrays are not copied."""
    if buffer is None:
        return None
    rows, size = buffer.buffer_size if buffer.full else buffer.pos, buffer.buffer_size
    arrays = {name: _first_rows(value, rows) for name, value in vars(buffer).items() if _has_rows(value, size)}
    others = {name: value for name, value in vars(buffer).items() if name not in arrays and _is_small(value)}
    infos = arrays.pop("infos", None)  # of hindsight replay: an array of dictionaries
    kept = infos if infos is not None and buffer.copy_info_dict else None
    return {"pos": buffer.pos, "full": buffer.full, "capacity": size, "arrays": arrays, "others": others, "infos": kept}


def refill(buffer: Buffer, saved: Mapping[str, TorchState] | None) -> None:
    """Puts transitions into a new buffer: the newest ones, if it is shorter.

    Raises:
        UsageError: the buffer holds transitions of another kind.
    """
    if buffer is None or saved is None:
        return
    buffer.pos, buffer.full = saved["pos"], saved["full"]
    capacity, size = saved.get("capacity", buffer.buffer_size), buffer.buffer_size
    live = flat({name: getattr(buffer, name, None) for name in saved["arrays"]} if saved["arrays"] else vars(buffer))
    newest: dict[str, list[np.ndarray]] = {}  # of a buffer of another length
    for begin, parts in saved.get("parts") or [(0, flat(saved["arrays"]))]:
        for name, rows in parts.items():
            held = live.get(name)
            if not isinstance(held, np.ndarray) or (held.shape[1:], held.dtype) != (rows.shape[1:], rows.dtype):
                now = f"{held.dtype} of shape {held.shape[1:]}" if isinstance(held, np.ndarray) else "absent"
                raise UsageError(
                    f"{name} of a transition: {rows.dtype} of shape {rows.shape[1:]} in the replay buffer of the checkpoint, and "
                    f"{now} in the one that make() built: a hyperparameter that changes the environments or the buffer must be "
                    "static=True."
                )
            if capacity == size:
                held[begin : begin + len(rows)] = rows
            else:
                newest.setdefault(name, []).append(rows)
    if capacity != size:
        _resized(buffer, live, newest, saved)
    for name, value in saved.get("others", {}).items():
        getattr(buffer, name)[...] = value
    if (infos := saved.get("infos")) is not None:
        rows = np.array(infos, object).reshape(-1, buffer.n_envs)
        buffer.infos[: len(rows)] = rows


def flat(arrays: Mapping[str, object]) -> dict[str, np.ndarray]:
    """Returns arrays by name; those of dictionary observations are ``observations/…``."""
    named = {name: value if isinstance(value, Mapping) else {"": value} for name, value in arrays.items()}
    return {f"{name}/{key}" if key else name: each for name, inner in named.items() for key, each in inner.items()}


def _resized(
    buffer: Buffer, live: Mapping[str, np.ndarray], newest: Mapping[str, list[np.ndarray]], saved: Mapping[str, TorchState]
) -> None:
    """Puts the newest transitions, in their order, into a buffer of another length."""
    if saved.get("others") or saved.get("infos") is not None:
        raise UsageError(
            f"a {type(buffer).__name__} of {counted(saved['capacity'], 'row')} cannot be copied into one of "
            f"{buffer.buffer_size}, because "
            "it keeps positions of rows: the hyperparameter for buffer_size must be static=True."
        )
    for name, blocks in newest.items():
        rows = np.concatenate(blocks)
        ordered = np.roll(rows, -saved["pos"], axis=0) if saved["full"] else rows
        kept = ordered[-buffer.buffer_size :]
        live[name][: len(kept)] = kept
        buffer.pos, buffer.full = len(kept) % buffer.buffer_size, len(kept) == buffer.buffer_size


def _is_small(value: object) -> bool:
    """True for an array that is not one of transitions, such as where the open episodes begin."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"


def _has_rows(value: object, size: int) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(_has_rows(item, size) for item in value.values())
    return isinstance(value, np.ndarray) and value.ndim > 0 and len(value) == size


def _first_rows(value: Rows, count: int) -> Rows:
    return {key: item[:count] for key, item in value.items()} if isinstance(value, Mapping) else value[:count]
