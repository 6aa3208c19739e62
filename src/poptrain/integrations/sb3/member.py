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
from poptrain.core.errors import UsageError
from poptrain.integrations.sb3.hparams import Model, apply_hparams, changed, read_hparams
from poptrain.integrations.sb3.state import restore, saved_state
from poptrain.integrations.torch.random_stream import Generators, stream
from poptrain.integrations.torch.state import load_state, save_state


class SB3Member:
    """The base of a trainable class around a Stable-Baselines3 algorithm: write ``make(hp, seed)``, nothing else.

    ``train`` continues for `steps` environment steps, rounded up to whole rollouts, and returns the mean return of the
    episodes that ended in the interval. Override ``score(returns)`` for another score, for example that of an evaluation.
    """

    own: tuple[str, ...] = ()  # hyperparameters that `make` or `score` uses; they are not set in the algorithm
    callback: BaseCallback | None = None  # of ``learn``

    def __init__(self, hp: Mapping[str, object], seed: int):
        self._random: Generators | None = None
        with stream(self, seed):
            self.model: Model = self.make(hp, seed % 2**31)
            self.apply(hp)
        weakref.finalize(self.model, _close, self.model.env)  # environments may be processes

    def make(self, hp: Mapping[str, object], seed: int) -> BaseAlgorithm:
        """Returns the algorithm, such as ``PPO("MlpPolicy", "CartPole-v1", seed=seed)``; called once for each object."""
        raise UsageError(f"{type(self).__name__} has no make(hp, seed): define it; it must return the algorithm.")

    def score(self, returns: list[float]) -> float:
        """Returns the score of an interval from the returns of the training episodes that ended in it."""
        if not returns:
            raise UsageError("no episode ended in this interval: use a longer interval, or override score().")
        return float(np.mean(returns))

    def train(self, hp: Mapping[str, object], steps: int) -> Metrics:
        """Applies the hyperparameters, trains, verifies that they were in effect, and returns the metrics."""
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
                raise UsageError(f"training changed its own hyperparameters: {'; '.join(wrong)}.")
            score = self.score(seen.returns)
        return {"score": score, "returns": seen.returns, "steps": model.num_timesteps - begin, "episodes": len(seen.returns)}

    def apply(self, hp: Mapping[str, object]) -> dict[str, object]:
        """Sets the hyperparameters in the live algorithm and returns the values in effect, by place."""
        return apply_hparams(self.model, self._tuned(hp))

    def effective(self, hp: Mapping[str, object]) -> dict[str, object]:
        """Returns the values that are in effect in the live algorithm for each of `hp`, by place."""
        return read_hparams(self.model, self._tuned(hp))

    def save(self, directory: Path) -> None:
        """Writes all of the state into a directory."""
        save_state({**saved_state(self.model), "random": self._random}, Path(directory))

    def load(self, directory: Path) -> None:
        """Restores what `save` wrote; hyperparameters are applied when training continues."""
        state = load_state(Path(directory))
        restore(self.model, state)
        self._random = state["random"]

    def _tuned(self, hp: Mapping[str, object]) -> dict[str, object]:
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


def _close(env: object) -> None:
    with contextlib.suppress(Exception):
        env.close()  # type: ignore[attr-defined]  # the user's environment; anything that fails here is ignored
