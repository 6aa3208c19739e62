"""Stable-Baselines3 members: what the space says is what acts in the live algorithm, before, during and after training."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import poptrain as pt
from poptrain.testing import check_trainable

pytestmark = pytest.mark.heavy
pytest.importorskip("stable_baselines3")

import torch  # noqa: E402
from stable_baselines3 import DQN, PPO, SAC  # noqa: E402
from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize  # noqa: E402

from poptrain.integrations.sb3 import SB3Member, apply_hparams, read_hparams  # noqa: E402

torch.set_num_threads(1)
SPACE = pt.Space(
    lr=pt.LogUniform(1e-4, 1e-2), clip_range=pt.Uniform(0.1, 0.4), ent_coef=pt.LogUniform(1e-5, 1e-1),
    gamma=pt.Complement(0.9, 0.999), gae_lambda=pt.Uniform(0.9, 1.0), batch_size=pt.Ordinal(16, 32, 64),
    n_epochs=pt.Int(1, 4), n_steps=pt.Ordinal(32, 64, 128),
)  # fmt: skip
HP = {"lr": 2e-3, "clip_range": 0.3, "ent_coef": 0.02, "gamma": 0.95, "gae_lambda": 0.9, "batch_size": 16, "n_epochs": 2,
      "n_steps": 64}  # fmt: skip
OTHER = {"lr": 5e-4, "clip_range": 0.1, "ent_coef": 0.001, "gamma": 0.99, "gae_lambda": 0.97, "batch_size": 32, "n_epochs": 3,
         "n_steps": 32}  # fmt: skip
SEEN: list[tuple[dict, dict]] = []


class Spy(BaseCallback):
    """Notes what acts at the end of every rollout, in the middle of ``learn``."""

    def __init__(self, member):
        super().__init__()
        self.member, self.hp = member, {}

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        SEEN.append((dict(self.hp), self.member.effective(self.hp)))
        assert self.model.rollout_buffer.observations.shape[0] == self.hp["n_steps"]


class Agent(SB3Member):
    def make(self, hp, seed):
        return PPO(
            "MlpPolicy", "CartPole-v1", n_steps=32, batch_size=32, seed=seed, device="cpu", policy_kwargs={"net_arch": [8]}
        )

    def train(self, hp, steps):
        self.callback = Spy(self)
        self.callback.hp = hp
        return super().train(hp, steps)


PLACES = {
    "lr": ["lr_schedule(1)", "lr_schedule(0)", "policy.optimizer[0].lr"], "clip_range": ["clip_range(1)", "clip_range(0)"],
    "ent_coef": ["ent_coef"], "gamma": ["gamma", "buffer.gamma"], "gae_lambda": ["gae_lambda", "buffer.gae_lambda"],
    "batch_size": ["batch_size"], "n_epochs": ["n_epochs"], "n_steps": ["n_steps", "buffer.buffer_size"],
}  # fmt: skip


def everywhere(hp):
    return {place: value for name, value in hp.items() for place in PLACES[name]}


def test_the_peers_fault_is_there_without_us():
    """Setting the learning rate of a loaded model does nothing (DLR-RM/stable-baselines3 735, 1336)."""
    agent = Agent(HP, 0)
    agent.model.learning_rate = 1e-5
    agent.model.learn(64)
    assert agent.model.policy.optimizer.param_groups[0]["lr"] == HP["lr"]
    apply_hparams(agent.model, {"lr": 1e-5})
    agent.model.learn(64)
    assert agent.model.policy.optimizer.param_groups[0]["lr"] == 1e-5


def test_every_task_of_a_run_trains_with_its_own_hyperparameters(tmp_path):
    SEEN.clear()
    done = pt.run(pt.pbt(SPACE, population=3, interval=128), Agent, stop=pt.steps(640), directory=tmp_path / "r")
    asked = {tuple(done.history.task(id).hparams.items()) for id in range(done.history.n)}
    assert {tuple(hp.items()) for hp, _ in SEEN} == asked and len(asked) > 5
    for hp, held in SEEN:
        assert held == everywhere(hp)
    assert all(done.history.ok(id) for id in range(done.history.n))
    assert [done.history.step(id) for id in done.history.heads()] == [640] * 3
    best = done.best.load()
    assert best.model.num_timesteps == done.best.step
    assert best.effective(done.best.hparams)["lr_schedule(1)"] == pytest.approx(done.best.hparams["lr"])


def test_a_clone_trains_with_its_own_hyperparameters_on_its_parents_weights(tmp_path):
    parent = Agent(HP, 1)
    parent.train(HP, 128)
    parent.save(tmp_path)
    clone = Agent(OTHER, 2)
    clone.load(tmp_path)
    for ours, theirs in zip(clone.model.policy.parameters(), parent.model.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert clone.model.policy.optimizer.param_groups[0]["lr"] == OTHER["lr"]  # not that of the stored optimiser
    assert clone.apply(OTHER) == everywhere(OTHER)
    moments = clone.model.policy.optimizer.state_dict()["state"]
    assert moments and all(entry["step"] > 0 for entry in moments.values())
    clone.train(OTHER, 128)
    assert clone.model.num_timesteps == 256 and clone.effective(OTHER) == everywhere(OTHER)


def test_a_longer_rollout_is_really_collected():
    agent = Agent(HP, 0)
    for n_steps in (32, 128, 64):
        agent.train({**HP, "n_steps": n_steps}, 1)
        assert agent.model.rollout_buffer.pos == n_steps
    assert agent.model.num_timesteps == 32 + 128 + 64  # counters go on


@pytest.mark.parametrize("hp", [HP, OTHER], ids=["new", "other"])
def test_save_load_continue_equals_continue(hp):
    check_trainable(Agent, hp, steps=128)


class Normalised(SB3Member):
    def make(self, hp, seed):
        import gymnasium
        from stable_baselines3.common.monitor import Monitor

        env = VecNormalize(DummyVecEnv([lambda: Monitor(gymnasium.make("CartPole-v1")) for _ in range(2)]))
        return PPO("MlpPolicy", env, n_steps=32, batch_size=32, seed=seed, device="cpu", policy_kwargs={"net_arch": [8]})


class Soft(SB3Member):
    def make(self, hp, seed):
        options = {"policy_kwargs": {"net_arch": [8]}, "learning_starts": 50, "buffer_size": 500, "device": "cpu", "seed": seed}
        return SAC("MlpPolicy", "Pendulum-v1", **options)


class Deep(SB3Member):
    def make(self, hp, seed):
        return DQN(
            "MlpPolicy", "CartPole-v1", buffer_size=80, learning_starts=20, seed=seed, device="cpu", target_update_interval=30
        )


OTHERS = {
    "PPO-VecNormalize": (Normalised, {"lr": 1e-3, "gamma": 0.9}, 128),
    "SAC": (Soft, {"lr": 1e-3, "tau": 0.1}, 210),
    "DQN": (Deep, {"lr": 1e-3, "batch_size": 8}, 100),
}


@pytest.mark.parametrize(("cls", "hp", "steps"), OTHERS.values(), ids=list(OTHERS))
def test_other_algorithms_lose_nothing_either(cls, hp, steps):
    """The replay buffer of DQN is full and of SAC half full; scores are sums of what the policy did afterwards."""
    check_trainable(cls, hp, steps=steps)


def test_what_is_lost_is_caught(monkeypatch):
    from poptrain.integrations.sb3 import state

    monkeypatch.setattr(state, "normalisers", lambda model: [])
    with pytest.raises(AssertionError, match="does not hold all of the state"):
        check_trainable(Normalised, {"lr": 1e-2}, steps=512)


def test_sac_gets_its_fixed_entropy_coefficient():
    class Fixed(SB3Member):
        def make(self, hp, seed):
            return SAC("MlpPolicy", "Pendulum-v1", ent_coef=hp["ent_coef"], buffer_size=100, seed=seed, device="cpu")

    member = Fixed({"ent_coef": 0.5, "lr": 1e-3}, 0)
    held = member.apply({"ent_coef": 0.1, "lr": 1e-4})
    assert held["ent_coef_tensor"] == pytest.approx(0.1)
    assert held["actor.optimizer[0].lr"] == held["critic.optimizer[0].lr"] == 1e-4
    with pytest.raises(pt.UsageError, match="learns its ent_coef"):
        apply_hparams(Soft({"lr": 1e-3}, 0).model, {"ent_coef": 0.1})


@pytest.mark.parametrize(
    ("hparams", "words"),
    [({"learning_rat": 1e-3}, "Did you mean 'learning_rate'"), ({"hidden": 8}, "named in `own`"), ({"tau": 0.1}, "'tau'")],
    ids=["typo", "of make", "of another algorithm"],
)
def test_a_hyperparameter_that_nothing_acts_on_is_an_error(hparams, words):
    with pytest.raises(pt.UsageError, match=words):
        apply_hparams(Agent({"lr": 1e-3}, 0).model, hparams)


def test_training_that_overwrites_a_hyperparameter_is_an_error():
    class Overwrites(BaseCallback):
        def _on_step(self):
            self.model.gamma = 0.5
            return True

    class Bad(SB3Member):
        callback = Overwrites()
        make = Agent.make

    with pytest.raises(pt.UsageError, match="gamma=0.95, but gamma is 0.5"):
        Bad(HP, 0).train(HP, 64)


def test_own_hyperparameters_are_left_to_make():
    class Wide(SB3Member):
        own = ("width",)

        def make(self, hp, seed):
            return PPO("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": [hp["width"]]}, seed=seed, device="cpu")

    member = Wide({"width": 12, "lr": 1e-3}, 0)
    assert member.model.policy.mlp_extractor.policy_net[0].out_features == 12
    assert read_hparams(member.model, {"lr": 1e-3})["lr_schedule(1)"] == 1e-3


def test_members_neither_share_random_streams_nor_disturb_the_process():
    before = np.random.get_state()[1].copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        a, b = Agent(HP, 1), Agent(HP, 2)
        together = [(a.train(HP, 64), b.train(HP, 64)) for _ in range(2)]
        alone = Agent(HP, 1)
        assert [alone.train(HP, 64) for _ in range(2)] == [pair[0] for pair in together]
    assert (np.random.get_state()[1] == before).all()


def test_an_agent_without_make_is_a_sentence():
    class Unmade(SB3Member):
        pass

    with pytest.raises(pt.UsageError, match=r"Unmade has no make\(hp, seed\)"):
        Unmade({}, 0)


@pytest.mark.parametrize("factor", [None, 0.5])
def test_a_schedule_that_ignores_the_rate_is_named(factor):
    class Scheduled(SB3Member):
        def make(self, hp, seed):
            hp = dict(hp)
            most = 0.01 if factor is None else hp["lr"] * factor
            schedule = lambda left: most * left  # noqa: E731
            return PPO("MlpPolicy", "CartPole-v1", schedule, n_steps=32, batch_size=32, seed=seed, device="cpu")

    member = Scheduled({"lr": 0.3}, 1)
    if factor is None:
        with pytest.raises(pt.UsageError, match="Scheduled does not train .* lr=0.3 was read, but the optimiser is the same"):
            member.train({"lr": 0.3}, 32)
    else:
        member.train({"lr": 0.3}, 32)


def test_an_unknown_hyperparameter_is_refused_once_and_before_training_with_the_name_that_was_meant():
    def experiment(member, name):
        space = pt.Space({name: pt.Uniform(0.8, 0.99)})
        return pt.Experiment(pt.pbt(space, population=2, interval=8), member, stop=pt.steps(16))

    class Plain(SB3Member):
        def make(self, hp, seed):
            return PPO("MlpPolicy", "CartPole-v1", seed=seed, vf_coef=hp.get("value_weight", 0.5))

    with pytest.raises(pt.UsageError, match=r"^Plain: 'gama' is not .* Did you mean 'gamma'\?"):
        experiment(Plain, "gama")
    for name in ("gamma", "lr", "value_weight"):
        experiment(Plain, name)

    class Passes(Plain):
        own = ("later",)

        def make(self, hp, seed):
            return PPO("MlpPolicy", "CartPole-v1", seed=seed, **hp)

    experiment(Passes, "unknown")  # make may use any of them
    experiment(type("Own", (Plain,), {"own": ("later",)}), "later")
