"""Stable-Baselines3: an algorithm as a member whose hyperparameters really change while it trains.

Write ``make(hp, seed)``, which builds the algorithm; everything in the space must then be one of its hyperparameters, by its
name there (``lr`` for ``learning_rate``), or be named in ``own``. A name that nothing acts on is an error, not a silence.

The checkpoint holds parameters, optimisers, counters, normalisers and a replay buffer, without pickle: nothing of the
algorithm's code or custom objects is stored, `make` brings them back. A simulator's state cannot be stored; every interval
starts with a seeded reset instead, so that a resumed run repeats.
"""

from __future__ import annotations

import contextlib
import weakref
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poptrain.core.errors import MissingExtra, UsageError

try:
    import stable_baselines3  # noqa: F401
except ImportError as error:
    raise MissingExtra("poptrain.integrations.sb3 needs Stable-Baselines3: pip install 'poptrain[sb3]'") from error

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from poptrain.integrations.sb3_hparams import apply_hparams, changed, read_hparams
from poptrain.integrations.torch_random import stream
from poptrain.integrations.torch_state import is_plain, load_state, save_state

__all__ = ["SB3Member", "apply_hparams", "read_hparams"]

_COUNTERS = (
    "num_timesteps", "_num_timesteps_at_start", "_total_timesteps", "_current_progress_remaining", "_n_updates", "_n_calls",
    "_episode_num", "exploration_rate",
)  # fmt: skip
_WINDOWS = ("ep_info_buffer", "ep_success_buffer")


class SB3Member:
    """The base of a trainable class around a Stable-Baselines3 algorithm: write ``make(hp, seed)``, no more.

    ``train`` goes on for `steps` environment steps, rounded up to whole rollouts, and returns the mean return of the episodes
    that ended meanwhile; override ``score(returns)`` for another score, for example of an evaluation.
    """

    own: tuple[str, ...] = ()  # hyperparameters that `make` or `score` uses; the algorithm does not get them
    callback: Any = None  # of ``learn``

    def __init__(self, hp: Mapping[str, Any], seed: int):
        self._random: Any = None
        with stream(self, seed):
            self.model = self.make(hp, seed % 2**31)
            self.apply(hp)
        weakref.finalize(self.model, _close, self.model.env)  # environments may be processes

    def make(self, hp: Mapping[str, Any], seed: int) -> Any:
        """Returns the algorithm, such as ``PPO("MlpPolicy", "CartPole-v1", seed=seed)``; called once for each object."""
        raise UsageError(f"{type(self).__name__} has no make(hp, seed): define it, it returns the algorithm.")

    def score(self, returns: list[float]) -> float:
        """Returns the score of an interval from the returns of the training episodes that ended in it."""
        if not returns:
            raise UsageError("no episode ended in this interval: use a longer one, or override score().")
        return float(np.mean(returns))

    def train(self, hp: Mapping[str, Any], steps: int) -> dict[str, Any]:
        """Applies the hyperparameters, trains, verifies that they acted, and returns the metrics."""
        model, seen = self.model, _Returns()
        with stream(self):
            self.apply(hp)
            begin = model.num_timesteps
            model.action_space.seed(int(np.random.randint(2**31)))
            model.env.seed(int(np.random.randint(2**31)))
            model._last_obs = None  # a reset, with that seed
            callbacks = [seen] if self.callback is None else [seen, self.callback]
            if steps:
                model.learn(steps, callback=callbacks, reset_num_timesteps=False, log_interval=None)
            if wrong := changed(model, self._tuned(hp)):
                raise UsageError(f"training did not keep its hyperparameters: {'; '.join(wrong)}.")
            score = self.score(seen.returns)
        return {"score": score, "returns": seen.returns, "steps": model.num_timesteps - begin, "episodes": len(seen.returns)}

    def apply(self, hp: Mapping[str, Any]) -> dict[str, Any]:
        """Sets the hyperparameters in the live algorithm and returns what then acts, by place."""
        return apply_hparams(self.model, self._tuned(hp))

    def effective(self, hp: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what acts in the live algorithm for each of `hp`, by place."""
        return read_hparams(self.model, self._tuned(hp))

    def save(self, directory: Path) -> None:
        """Writes all of the state into a directory."""
        model = self.model
        names, variables = model._get_torch_save_params()
        state = {
            "parameters": model.get_parameters(),
            "variables": {name: getattr(model, name) for name in variables if getattr(model, name) is not None},
            "counters": {name: getattr(model, name) for name in _COUNTERS if hasattr(model, name)},
            "windows": {name: list(getattr(model, name) or ()) for name in _WINDOWS},
            "normalise": [_plain(part) for part in _normalisers(model)],
            "replay": _filled(getattr(model, "replay_buffer", None)),
            "random": self._random,
        }
        save_state(state, Path(directory))

    def load(self, directory: Path) -> None:
        """Takes over what `save` wrote; hyperparameters are applied when training goes on."""
        model, state = self.model, load_state(Path(directory))
        model.set_parameters(state["parameters"], exact_match=True, device=model.device)
        for name, value in state["variables"].items():
            getattr(model, name).data = value.to(model.device)
        for name, value in state["counters"].items():
            setattr(model, name, value)
        for name, items in state["windows"].items():
            setattr(model, name, deque(items, maxlen=model._stats_window_size))
        for part, values in zip(_normalisers(model), state["normalise"], strict=True):
            vars(part).update(values)
        _refill(getattr(model, "replay_buffer", None), state["replay"])
        self._random = state["random"]

    def _tuned(self, hp: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in hp.items() if name not in self.own}


class _Returns(BaseCallback):
    """Collects the returns of the episodes that end."""

    def __init__(self) -> None:
        super().__init__()
        self.returns: list[float] = []

    def _on_step(self) -> bool:
        ended = (info["episode"]["r"] for info in self.locals["infos"] if "episode" in info)
        self.returns += [float(value) for value in ended]
        return True


def _close(env: Any) -> None:
    with contextlib.suppress(Exception):
        env.close()


def _normalisers(model: Any) -> list[Any]:
    """Returns the running statistics of a ``VecNormalize``, if there is one."""
    env = model.get_vec_normalize_env()
    if env is None:
        return []
    observed = getattr(env, "obs_rms", None)
    return [*(observed.values() if isinstance(observed, dict) else [observed] if observed is not None else []), env.ret_rms]


def _plain(part: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(part).items() if is_plain(value)}


def _filled(buffer: Any) -> dict[str, Any] | None:
    """Returns the part of a replay buffer that was written."""
    if buffer is None:
        return None
    rows = buffer.buffer_size if buffer.full else buffer.pos
    arrays = {name: _rows(value, rows) for name, value in vars(buffer).items() if _is_rows(value, buffer.buffer_size)}
    return {"pos": buffer.pos, "full": buffer.full, "arrays": arrays}


def _refill(buffer: Any, saved: dict[str, Any] | None) -> None:
    if buffer is None or saved is None:
        return
    buffer.pos, buffer.full = saved["pos"], saved["full"]
    for name, value in saved["arrays"].items():
        mine = getattr(buffer, name)
        for part, rows in [(mine[key], value[key]) for key in value] if isinstance(value, dict) else [(mine, value)]:
            part[: len(rows)] = rows


def _is_rows(value: Any, size: int) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(_is_rows(item, size) for item in value.values())
    return isinstance(value, np.ndarray) and value.ndim > 0 and len(value) == size


def _rows(value: Any, rows: int) -> Any:
    return {key: item[:rows] for key, item in value.items()} if isinstance(value, dict) else value[:rows]
