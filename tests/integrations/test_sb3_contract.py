"""`SB3Member` under the laws of every adapter."""

from __future__ import annotations

import pytest

import poptrain as pt

pytestmark = pytest.mark.heavy
pytest.importorskip("stable_baselines3")

import torch  # noqa: E402
from stable_baselines3 import DQN, PPO  # noqa: E402
from stable_baselines3.common.envs import BitFlippingEnv  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize  # noqa: E402
from stable_baselines3.her import HerReplayBuffer  # noqa: E402

from poptrain.integrations.sb3 import SB3Member  # noqa: E402

torch.set_num_threads(1)


class Normalised(SB3Member):
    def make(self, hp, seed):
        import gymnasium

        env = VecNormalize(DummyVecEnv([lambda: gymnasium.make("CartPole-v1") for _ in range(2)]))
        options = {"net_arch": [8], "optimizer_kwargs": {"weight_decay": hp["weight_decay"]}}
        return PPO("MlpPolicy", env, n_steps=32, batch_size=32, n_epochs=1, seed=seed, device="cpu", policy_kwargs=options)


class Goal(SB3Member):
    def make(self, hp, seed):
        return DQN("MultiInputPolicy", BitFlippingEnv(n_bits=4, max_steps=4), replay_buffer_class=HerReplayBuffer,
                   learning_starts=10, buffer_size=60, seed=seed, device="cpu", policy_kwargs={"net_arch": [8]})  # fmt: skip


class Steps(SB3Member):
    def make(self, hp, seed):
        return DQN("MlpPolicy", "CartPole-v1", n_steps=3, learning_starts=10, buffer_size=90, seed=seed, device="cpu",
                   policy_kwargs={"net_arch": [8]})  # fmt: skip


class TestNormalised(pt.testing.AdapterContract):
    """The normaliser's discount follows; the weight decay is only known to `make`."""

    steps = 64
    read_by_code = ("weight_decay",)

    def member(self):
        return Normalised

    def values(self):
        return (
            {"lr": 1e-3, "gamma": 0.9, "clip_range": 0.2, "weight_decay": 0.0},
            {"lr": 3e-3, "gamma": 0.99, "clip_range": 0.3, "weight_decay": 0.1},
        )

    def derived(self, member):
        group = member.model.policy.optimizer.param_groups[0]
        return {"weight_decay": group["weight_decay"], "rate": group["lr"], "normaliser": member.model.env.gamma}


class TestGoal(pt.testing.AdapterContract):
    """Hindsight replay, whose buffer has wrapped around."""

    steps = 45

    def member(self):
        return Goal

    def values(self):
        return {"lr": 1e-3, "exploration_fraction": 0.5}, {"lr": 3e-3, "exploration_fraction": 0.2}


class TestSteps(TestGoal):
    """Returns over several steps."""

    def member(self):
        return Steps

    def values(self):
        return {"lr": 1e-3, "gamma": 0.9, "n_steps": 3}, {"lr": 3e-3, "gamma": 0.99, "n_steps": 2}


def test_an_evaluation_before_the_first_step_has_a_score():
    done = pt.run(
        pt.pb2(pt.Space(lr=pt.LogUniform(1e-4, 1e-2), gamma=pt.Uniform(0.9, 0.99)), population=2, interval=40),
        Steps,
        stop=pt.steps(80),
    )
    assert all(done.history.ok(id) for id in range(done.history.n)) and done.history.step(0) == 0


def test_a_schedule_of_an_on_policy_algorithm_spans_the_run_and_not_an_interval():
    """The rates are those of one ``learn`` over the whole budget, also of a copy with another rate."""
    rates = []

    class Scheduled(SB3Member):
        def make(self, hp, seed):
            schedules = {"learning_rate": lambda left: hp["lr"] * left, "clip_range": lambda left: 0.2 * left}
            sizes = {"n_steps": 32, "batch_size": 32, "n_epochs": 1, "policy_kwargs": {"net_arch": [8]}}
            return PPO("MlpPolicy", "CartPole-v1", seed=seed, device="cpu", **schedules, **sizes)

        def train(self, hp, steps):
            metrics = super().train(hp, steps)
            left = self.model.policy.optimizer.param_groups[0]["lr"] / hp["lr"]
            rates.append((round(left, 6), round(self.model.clip_range(self.model._current_progress_remaining), 6)))
            return metrics

    algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-2)), population=2, interval=32, exploit=pt.truncation(0.5))
    pt.run(algorithm, Scheduled, stop=pt.steps(128), progress=False)
    assert rates == [(left, round(0.2 * left, 6)) for left in (0.75, 0.75, 0.5, 0.5, 0.25, 0.25, 0.0, 0.0)]
