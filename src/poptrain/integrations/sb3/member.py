"""`SB3Member`: the base of a trainable class around a Stable-Baselines3 algorithm."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from poptrain.core import Metrics
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.core.warned import warn_user
from poptrain.engine.reads import names_read
from poptrain.integrations.adapter import Place, Reads, check_in_force, check_rate, effective, flattened, plain
from poptrain.integrations.blocks import Blocks
from poptrain.integrations.sb3.episodes import Episodes, cut_open_episodes, evaluate, is_monitored, limit
from poptrain.integrations.sb3.hparams import Model, apply_hparams, check_names, is_scheduled, is_tunable, places
from poptrain.integrations.sb3.state import restore, saved_state, store, stored
from poptrain.integrations.sb3.surroundings import (
    Callback,
    Surroundings,
    callbacks_of,
    check_environments,
    own_callback,
    seed_evaluations,
)
from poptrain.integrations.torch.random_stream import Generators, stream
from poptrain.integrations.torch.state import TorchState
from poptrain.space import Space
from poptrain.trainable.episodes import EpisodeLimit


class SB3Member:
    """The base of a trainable class around a Stable-Baselines3 algorithm: write ``make(hp, seed)``, nothing else.

    ``train`` continues for `steps` environment steps, rounded up to whole rollouts, and returns the mean return of the episodes
    that ended in the interval; if none ended, the last score, and before the first one the mean return so far. With
    ``evaluate_episodes = n`` it is the mean return of n whole episodes after the interval. A task of 0 steps evaluates whole
    episodes. Override ``score(returns)`` for another score. Schedules span the steps of the whole run. When values change,
    ``make`` builds the algorithm again, and the state is put into it.
    """

    own: tuple[str, ...] = ()  # hyperparameters that `make` or `score` uses; they are not set in the algorithm
    callback: Callback = None  # of ``learn``: a callback, a list of them, or a function
    evaluate_episodes = 0  # whole episodes without exploration that give the score; 0: the score is that of training episodes
    whole_episodes = "set evaluate_episodes = 10 in the class of the member"  # for messages

    def __init__(self, hp: Mapping[str, object], seed: int):
        self._random: Generators | None = None
        self._budget: int | None = None
        self._last_score = float("nan")
        self._blocks = Blocks()
        self._build(hp, seed)

    @classmethod
    def check_space(cls, space: Space, budget: int | None) -> None:
        """Raises a `UsageError` if no algorithm and no code of this class has use for a hyperparameter."""
        read = names_read(cls.make, 1)
        if read is not None and cls.apply is SB3Member.apply:  # else the code may use any of them
            check_names(cls.__name__, list(space), {*read, *cls.own})

    def make(self, hp: Mapping[str, object], seed: int) -> BaseAlgorithm:
        """Returns the algorithm, such as ``PPO("MlpPolicy", "CartPole-v1", seed=seed)``; called again when values change."""
        raise UsageError(f"{type(self).__name__} has no make(hp, seed): define it; it must return the algorithm.")

    def score(self, returns: list[float]) -> float:
        """Returns the score of an interval from the returns of the training episodes that ended in it; NaN if there are none."""
        return float(np.mean(returns)) if returns else float("nan")

    def set_budget(self, steps: int | None) -> None:
        """Sets the steps of the whole training, over which schedules of the algorithm extend; None: unknown."""
        self._budget = steps

    def train(self, hp: Mapping[str, object], steps: int) -> Metrics:
        """Applies the hyperparameters, trains, verifies that they were in effect, and returns the metrics."""
        if dict(flattened(hp)) != dict(flattened(self._hp)):
            self._rebuild(hp)
        model, seen = self.model, Episodes(self._budget, is_monitored(self.model))
        with stream(self):
            self.apply(hp)
            begin = model.num_timesteps
            model.action_space.seed(int(np.random.randint(2**31)))
            model.env.seed(int(np.random.randint(2**31)))
            model._last_obs = None  # a reset, with that seed
            seed_evaluations(self, model, self.callback)
            self._trained = True
            if steps:
                model.learn(steps, callback=[seen, *callbacks_of(self)], reset_num_timesteps=False, log_interval=None)
                cut_open_episodes(model)
            if self.evaluate_episodes or not steps:
                returns = evaluate(model, self.evaluate_episodes or None)  # its steps do not count as training
            else:
                returns = seen.returns
            found = self.places(hp)
            check_in_force(type(self).__name__, hp, found, "Training changed its own hyperparameters.")
            score = self.score(returns)
        if returns and score == score:
            self._last_score = score
        elif not returns and score != score:
            score = self._last_score if self._last_score == self._last_score else float(np.mean(seen.so_far))
        if (trained := model.num_timesteps - begin) < steps:
            text = f"a callback of {type(self).__name__} stopped an interval after {trained} of {counted(steps, 'step')}."
            warn_user(text, RuntimeWarning)
        self._check_rate(hp, found)
        return {"score": score, "returns": returns, "steps": trained, "episodes": len(returns)}

    def episode_limit(self) -> EpisodeLimit | None:
        """Returns how long an episode of training may be; None if that is unknown, or if whole episodes are evaluated."""
        return None if self.evaluate_episodes else limit(self.model)

    def apply(self, hp: Mapping[str, object]) -> dict[str, object]:
        """Sets the hyperparameters in the live algorithm and returns the values in effect, by place."""
        return apply_hparams(self.model, self._tuned(hp))

    def places(self, hp: Mapping[str, object]) -> list[Place]:
        """Returns the places of the live algorithm at which hyperparameters act."""
        return places(self.model, self._tuned(hp))

    def effective(self, hp: Mapping[str, object]) -> dict[str, object]:
        """Returns the values that are in effect in the live algorithm for each of `hp`, by place."""
        return effective(self.places(hp))

    def save(self, directory: Path) -> None:
        """Writes all of the state into a directory, of a replay buffer what is not in the last checkpoint."""
        store(self._state(), Path(directory), self._blocks)

    def load(self, directory: Path) -> None:
        """Puts in what `save` wrote; this member keeps its own hyperparameters."""
        if self._trained:
            self._build(self._hp, self._seed)
        self._put(stored(Path(directory), self._blocks))

    def close(self) -> None:
        """Closes the environments."""
        _close(self.model.env)

    def _build(self, hp: Mapping[str, object], seed: int) -> None:
        """Lets `make` build the algorithm; the environments of the old one are closed first."""
        if hasattr(self, "model"):
            self.close()
        self._hp, self._seed, self._trained = plain(hp), seed, False
        self._common = isinstance(type(self).callback, (BaseCallback, list, tuple))
        if self._common:
            self.callback = own_callback(type(self).callback)
        reads = Reads(hp)
        with stream(self, seed):
            self.model: Model = self.make(reads, seed % 2**31)
            _check_made(type(self).__name__, self.model)
            scheduled = {name for name, _ in flattened(hp) if is_scheduled(self.model, name)}  # it may read its values only now
            self._of_make = {name for name in reads.seen if not is_tunable(self.model, name) or name in scheduled}
            self.apply(hp)
        self._outline = self._surroundings().outline()
        weakref.finalize(self.model, _close, self.model.env)  # environments may be processes

    def _check_rate(self, hp: Mapping[str, object], found: list[Place]) -> None:
        """Raises a `UsageError` for a rate on which the schedule that `make` builds does not depend."""
        mine: list[dict[str, object]] = []

        def rates_with(values: Mapping[str, object]) -> list[float]:
            if not mine:
                mine.append(self._state())
            self._build(values, self._seed)  # in place: there may only be one of the environments
            return [float(self.model.lr_schedule(progress)) for progress in (1.0, 0.7, 0.3, 0.0)]

        try:
            check_rate(type(self), hp, found, self.own, rates_with)
        finally:
            if mine:
                self._build(hp, self._seed)
                self._put(mine[0])

    def _surroundings(self) -> Surroundings:
        return Surroundings(self, self.model, self.callback, self._common)

    def _state(self) -> dict[str, object]:
        around = {"hp": self._hp, "outline": self._outline, "state": self._surroundings().read()}
        return {**saved_state(self.model), "random": self._random, "score": self._last_score, "around": around}

    def _rebuild(self, hp: Mapping[str, object]) -> None:
        state = self._state()
        self._build(hp, self._seed)
        self._put(state)

    def _put(self, state: Mapping[str, TorchState]) -> None:
        restore(self.model, state)
        if (around := state.get("around")) is not None:  # checkpoints of version 0.1 have none
            same = dict(flattened(around["hp"])) == dict(flattened(self._hp))
            self._surroundings().put(around["state"], None if same else around["outline"])
            self._outline = around["outline"] if same else self._outline
        self._random, self._last_score = state["random"], state.get("score", float("nan"))
        self._trained = True

    def _tuned(self, hp: Mapping[str, object]) -> dict[str, object]:
        return {name: value for name, value in flattened(plain(hp)) if name not in self.own and name not in self._of_make}


def _check_made(who: str, model: object) -> None:
    """Raises a `UsageError` unless `make` returned an algorithm that can train."""
    if not isinstance(model, BaseAlgorithm):
        raise UsageError(f"make of {who} returned {type(model).__name__}: it must return the algorithm, such as PPO(…).")
    if model.env is None:
        raise UsageError(
            f"make of {who} returned a {type(model).__name__} without environments: pass env=… to it, or to its load."
        )
    if not hasattr(model, "rollout_buffer") and not hasattr(model, "replay_buffer"):
        raise UsageError(
            f"{who} cannot train {type(model).__name__}, which collects no rollouts: use an on-policy or "
            "off-policy algorithm, or write a class with train, save and load."
        )
    check_environments(model)


def _close(env: object) -> None:
    with contextlib.suppress(Exception):
        env.close()  # type: ignore[attr-defined]  # the user's environment; anything that fails here is ignored
