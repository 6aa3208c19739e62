"""Returns of episodes, those of environments without a ``Monitor`` too, and what the end of an interval does to open episodes."""

from __future__ import annotations

from inspect import signature
from math import ceil

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor, is_vecenv_wrapped
from stable_baselines3.her import HerReplayBuffer

from poptrain.integrations.sb3.hparams import Model
from poptrain.trainable.episodes import EpisodeLimit

LONGEST = 10_000  # steps of an evaluation, in each environment


class Episodes(BaseCallback):
    """Collects the returns of the episodes that end; the schedules of the algorithm span `budget` steps, None: this interval."""

    def __init__(self, budget: int | None, monitored: bool):
        super().__init__()
        self.returns: list[float] = []
        self.so_far = np.zeros(0)  # the returns of the open episodes, one an environment
        self._budget, self._monitored = budget, monitored

    def _on_training_start(self) -> None:
        self.so_far = np.zeros(self.model.n_envs)
        if self._budget is not None:
            rollout = self.model.n_envs * (self.model.n_steps if hasattr(self.model, "rollout_buffer") else 1)
            begin = self.model._num_timesteps_at_start
            end = begin + ceil((self.model._total_timesteps - begin) / rollout) * rollout
            total = self.model._total_timesteps = max(self._budget, end)  # a schedule never passes its end

            def progress(steps: int, until: int) -> None:  # on-policy algorithms pass the end of this interval, not the attribute
                self.model._current_progress_remaining = 1.0 - steps / total

            self.model._update_current_progress_remaining = progress

    def _on_training_end(self) -> None:
        vars(self.model).pop("_update_current_progress_remaining", None)

    def _on_step(self) -> bool:
        normaliser = self.model.get_vec_normalize_env()
        self.so_far += self.locals["rewards"] if normaliser is None else normaliser.get_original_reward()
        for at, (done, info) in enumerate(zip(self.locals["dones"], self.locals["infos"], strict=True)):
            if "episode" in info:
                self.returns.append(float(info["episode"]["r"]))
            elif done and not self._monitored:
                self.returns.append(float(self.so_far[at]))
            if done:
                self.so_far[at] = 0.0
        return True


def is_monitored(model: Model) -> bool:
    """True if the environments report the returns of their episodes."""
    return is_vecenv_wrapped(model.env, VecMonitor) or bool(model.env.env_is_wrapped(Monitor)[0])


def evaluate(model: Model, episodes: int | None = None) -> list[float]:
    """Returns the returns of whole episodes of the current policy; nothing learns from them, and no statistics change.

    Args:
        episodes: how many, of the policy without exploration; None: one in each environment, as the policy explores.
    """
    env, normaliser = model.env, model.get_vec_normalize_env()
    training = None if normaliser is None else normaliser.training
    if normaliser is not None:
        normaliser.training = False
    wanted = np.array([((episodes or env.num_envs) + at) // env.num_envs for at in range(env.num_envs)])  # in each environment
    observation, state, starts = env.reset(), None, np.ones(env.num_envs, bool)
    totals, ended, returns = np.zeros(env.num_envs), np.zeros(env.num_envs, int), []
    options = {"deterministic": episodes is not None}
    masked = "action_masks" in signature(model.predict).parameters and env.has_attr("action_masks")
    for _ in range(LONGEST * int(wanted.max())):
        masks = {"action_masks": np.stack(env.env_method("action_masks"))} if masked else {}
        action, state = model.predict(observation, state=state, episode_start=starts, **options, **masks)
        observation, rewards, starts, infos = env.step(action)
        totals += rewards if normaliser is None else normaliser.get_original_reward()
        for at in np.flatnonzero(starts):
            if ended[at] < wanted[at]:
                returns.append(float(infos[at]["episode"]["r"]) if "episode" in infos[at] else float(totals[at]))
            totals[at], ended[at] = 0.0, ended[at] + 1
        if (ended >= wanted).all():
            break
    if normaliser is not None:
        normaliser.training = training
    return returns + [float(total) for total in totals[ended < wanted]]


def limit(model: Model) -> EpisodeLimit | None:
    """Returns how long the episodes of an algorithm's environments may be; None if they do not say so."""
    longest = _attribute(model, "_max_episode_steps") or getattr(_attribute(model, "spec"), "max_episode_steps", None)
    rollout = model.n_envs * (model.n_steps if hasattr(model, "rollout_buffer") else 1)
    return EpisodeLimit(longest, model.n_envs, rollout) if isinstance(longest, int) and longest > 0 else None


def _attribute(model: Model, name: str) -> object:
    """Returns an attribute of the first environment, or of a wrapper around it; None if it has none."""
    return model.env.get_attr(name, [0])[0] if model.env.has_attr(name) else None


def cut_open_episodes(model: Model) -> None:
    """Marks the open episodes in the replay buffer as cut off here: the next interval begins with a reset.

    A target then never runs from one episode into the next; where the buffer can tell, it bootstraps from the last observation.
    """
    buffer = getattr(model, "replay_buffer", None)
    if buffer is None or not (buffer.full or buffer.pos):
        return
    last = buffer.pos - 1
    for at in np.flatnonzero(buffer.dones[last] == 0):
        buffer.dones[last, at] = True
        if not buffer.optimize_memory_usage:  # else the next observation is overwritten, and there is nothing to bootstrap from
            buffer.timeouts[last, at] = True
        if isinstance(buffer, HerReplayBuffer):
            buffer._compute_episode_length(int(at))
