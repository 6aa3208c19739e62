"""Whole episodes: how long they may be, and a score that is that of an evaluation after the interval."""

from __future__ import annotations

import warnings

import pytest

import poptrain as pt

pytestmark = pytest.mark.heavy
pytest.importorskip("stable_baselines3")

import gymnasium  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from gymnasium.wrappers import TimeLimit  # noqa: E402
from stable_baselines3 import PPO  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize  # noqa: E402

from poptrain.core.errors import RunWarning  # noqa: E402
from poptrain.integrations.sb3 import SB3Member  # noqa: E402

torch.set_num_threads(1)
SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-2))
HP = {"lr": 1e-3}
STEPS = 20  # of an episode


class Walk(gymnasium.Env):
    """Every step has the reward 1, and an episode ends after `STEPS` steps."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.step_ = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.step_ += 1
        return np.zeros(1, np.float32), 1.0, self.step_ >= STEPS, False, {}


def limited():
    return TimeLimit(Walk(), STEPS)


class Agent(SB3Member):
    environments = 4

    def make(self, hp, seed):
        env = DummyVecEnv([limited] * self.environments)
        return PPO(
            "MlpPolicy", env, n_steps=8, batch_size=8, n_epochs=1, seed=seed, device="cpu", policy_kwargs={"net_arch": [4]}
        )


class Evaluated(Agent):
    evaluate_episodes = 6


class Normalised(Evaluated):
    def make(self, hp, seed):
        env = VecNormalize(DummyVecEnv([limited] * 4))
        return PPO(
            "MlpPolicy", env, n_steps=8, batch_size=8, n_epochs=1, seed=seed, device="cpu", policy_kwargs={"net_arch": [4]}
        )


def test_an_interval_shorter_than_an_episode_is_announced_before_training_and_while_it_trains():
    experiment = pt.Experiment(pt.pbt(SPACE, population=2, interval=32), Agent, stop=pt.steps(96))
    (verdict,) = [each for each in pt.check(experiment, seconds=20).checks if each.name == "episodes"]
    assert "gives each of 4 environments 8 steps, and an episode may have 20" in verdict.text
    assert "an interval of 80 steps or more" in verdict.text and "evaluate_episodes = 10" in verdict.text
    with pytest.warns(RunWarning, match=r"no episode ended in the first 2 rounds.*evaluate_episodes = 10"):
        pt.run(experiment, progress=False)


def test_whole_episodes_are_the_score_and_no_steps_of_training():
    experiment = pt.Experiment(pt.pb2(SPACE, population=4, interval=32), Evaluated, stop=pt.steps(96))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RunWarning)
        run = pt.run(experiment, progress=False)
    history = run.history
    assert {history.result(id).score for id in range(history.n)} == {float(STEPS)}
    assert {len(history.result(id).returns) for id in range(history.n)} == {6}
    assert {history.step(id) for id in history.heads()} == {96}
    assert "episodes" not in {each.name for each in pt.check(experiment, seconds=20).checks}


@pytest.mark.parametrize("kind", [Evaluated, Normalised])
def test_an_evaluation_changes_nothing_that_trains(kind, tmp_path):
    pt.testing.check_trainable(kind, HP, steps=32)
    member, other = kind(HP, 0), type("Other", (kind,), {"evaluate_episodes": 0})(HP, 0)
    member.train(HP, 32), other.train(HP, 32)
    assert member.model.num_timesteps == other.model.num_timesteps == 32
    for ours, theirs in zip(member.model.policy.parameters(), other.model.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    if kind is Normalised:
        assert member.model.env.obs_rms.count == other.model.env.obs_rms.count and member.model.env.training


@pytest.mark.parametrize("vectorised", [DummyVecEnv, SubprocVecEnv])
def test_the_limit_of_an_episode_is_known(vectorised):
    class Named(SB3Member):
        def make(self, hp, seed):
            env = vectorised([lambda: gymnasium.make("CartPole-v1")] * 2)
            return PPO("MlpPolicy", env, n_steps=32, seed=seed, device="cpu")

    class Unlimited(Named):
        def make(self, hp, seed):
            return PPO("MlpPolicy", vectorised([Walk] * 2), n_steps=32, seed=seed, device="cpu")

    for kind, limit in ((Named, (500, 2, 64)), (Unlimited, None)):
        member = kind(HP, 0)
        assert member.episode_limit() == limit
        member.close()
