"""`SB3Member` with every algorithm that it promises, and what goes with them, under the laws of every adapter."""

from __future__ import annotations

import pytest

import poptrain as pt

pytestmark = pytest.mark.heavy
pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

import gymnasium as gym  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from sb3_contrib import TQC, RecurrentPPO  # noqa: E402
from stable_baselines3 import A2C, SAC, TD3  # noqa: E402
from stable_baselines3.common.envs import BitFlippingEnv  # noqa: E402
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize  # noqa: E402
from stable_baselines3.her import HerReplayBuffer  # noqa: E402

from poptrain.integrations.sb3 import SB3Member  # noqa: E402

torch.set_num_threads(1)


class Line(gym.Env):
    """A point on a line, which is pushed; an episode lasts 9 steps, so that most are open when an interval ends."""

    observation_space = gym.spaces.Box(-10, 10, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.turn = float(self.np_random.normal()), 0
        return self._seen(), {}

    def step(self, action):
        self.turn += 1
        self.place = float(np.clip(self.place + action[0] + 0.1 * self.np_random.normal(), -10, 10))
        return self._seen(), -abs(self.place), False, self.turn >= 9, {}

    def _seen(self):
        return np.array([self.place, self.turn / 9], np.float32)


def small(**options):
    return {"seed": options.pop("seed"), "device": "cpu", "policy_kwargs": {"net_arch": [8]}, **options}


class Actor(SB3Member):
    def make(self, hp, seed):
        return A2C("MlpPolicy", VecNormalize(DummyVecEnv([Line, Line])), **small(seed=seed, n_steps=8, use_rms_prop=True))


class Recurrent(SB3Member):
    def make(self, hp, seed):
        options = {"net_arch": [8], "lstm_hidden_size": 4}
        env = DummyVecEnv([Line, Line])
        return RecurrentPPO(
            "MlpLstmPolicy", env, n_steps=16, batch_size=16, n_epochs=1, seed=seed, device="cpu", policy_kwargs=options
        )


class Off(SB3Member):
    kind = SAC
    options: dict = {}

    def make(self, hp, seed):
        options = {"learning_starts": 10, "buffer_size": 60, "batch_size": 16, **self.options}
        return self.kind("MlpPolicy", self.env(), **small(seed=seed, **options))

    def env(self):
        return Line()


class Normalised(Off):
    """SAC that learns its entropy coefficient, behind a normaliser."""

    def env(self):
        return VecNormalize(DummyVecEnv([Line]))


class Noisy(Off):
    """TD3 with noise that has a state of its own, and returns over several steps."""

    kind = TD3

    def make(self, hp, seed):
        model = super().make(hp, seed)
        model.action_noise = OrnsteinUhlenbeckActionNoise(np.zeros(1), 0.1 * np.ones(1))
        return model

    options = {"n_steps": 3}


class Quantiles(Off):
    kind = TQC
    options = {"ent_coef": 0.1, "gradient_steps": 2, "train_freq": 2}


class Goal(Off):
    """Hindsight replay of continuous actions."""

    def make(self, hp, seed):
        env, options = BitFlippingEnv(n_bits=4, max_steps=4, continuous=True), {"learning_starts": 10, "buffer_size": 60}
        return SAC("MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer, **small(seed=seed, batch_size=16, **options))


CASES = {
    Actor: ({"lr": 1e-3, "gamma": 0.9, "ent_coef": 0.0}, {"lr": 3e-3, "gamma": 0.99, "ent_coef": 0.01}),
    Recurrent: ({"lr": 1e-3, "n_steps": 16, "clip_range": 0.2}, {"lr": 3e-3, "n_steps": 24, "clip_range": 0.3}),
    Normalised: ({"lr": 1e-3, "gamma": 0.9, "tau": 0.005}, {"lr": 3e-3, "gamma": 0.99, "tau": 0.01}),
    Noisy: (
        {"lr": 1e-3, "gamma": 0.9, "n_steps": 3, "policy_delay": 2},
        {"lr": 3e-3, "gamma": 0.99, "n_steps": 2, "policy_delay": 1},
    ),
    Quantiles: ({"lr": 1e-3, "ent_coef": 0.1, "batch_size": 16}, {"lr": 3e-3, "ent_coef": 0.2, "batch_size": 8}),
    Goal: ({"lr": 1e-3, "gamma": 0.9}, {"lr": 3e-3, "gamma": 0.99}),
}


def weights(member):
    """Returns what has been trained, and the states that follow it."""
    return [float(tensor.double().abs().sum()) for part in member.model.get_parameters().values() for tensor in tensors(part)]


def tensors(tree):
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from tensors(value)


ONE = {  # laws that do not depend on the algorithm, and take long
    "test_every_task_of_a_run_with_copies_trains_with_its_own_values",
    "test_members_that_wait_are_not_in_memory",
    "test_members_side_by_side_train_as_if_alone",
    "test_a_checkpoint_that_is_loaded_and_saved_is_the_same",
}


def pytest_generate_tests(metafunc):
    cases = [Noisy] if metafunc.function.__name__ in ONE else list(CASES)
    metafunc.parametrize("case", cases, ids=[case.__name__ for case in cases])


class TestContract(pt.testing.AdapterContract):
    steps = 40

    @pytest.fixture(autouse=True)
    def _take(self, case):
        class Weighed(case):
            def train(self, hp, steps):
                return {**super().train(hp, steps), "weights": weights(self)}

        self.case, self.cls = case, Weighed

    def member(self):
        return self.cls

    def values(self):
        return CASES[self.case]
