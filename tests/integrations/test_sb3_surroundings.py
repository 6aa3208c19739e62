"""What is around an algorithm of Stable-Baselines3: it is carried as well, and a copy takes it over by the same rule."""

from __future__ import annotations

import warnings
from itertools import permutations

import pytest

import poptrain as pt

pytestmark = pytest.mark.heavy
pytest.importorskip("stable_baselines3")

import gymnasium as gym  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from gymnasium.wrappers import NormalizeObservation, NormalizeReward  # noqa: E402
from stable_baselines3 import DQN, PPO, SAC, TD3  # noqa: E402
from stable_baselines3.common.buffers import ReplayBuffer  # noqa: E402
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback  # noqa: E402
from stable_baselines3.common.evaluation import evaluate_policy  # noqa: E402
from stable_baselines3.common.monitor import Monitor  # noqa: E402
from stable_baselines3.common.noise import NormalActionNoise  # noqa: E402
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack, VecNormalize  # noqa: E402

from poptrain.integrations.sb3 import SB3Member  # noqa: E402

torch.set_num_threads(1)


class Clock(gym.Env):
    """Shows the time and a random number; the reward is the action."""

    def __init__(self, continuous=False):
        self.observation_space = gym.spaces.Box(-1, 100, (2,))
        self.action_space = gym.spaces.Box(-2, 2, (1,)) if continuous else gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._seen(), {}

    def step(self, action):
        self.t += 1
        return self._seen(), float(np.sum(action)), False, self.t >= 10, {}

    def _seen(self):
        return np.array([self.t, self.np_random.random()], np.float32)


def ppo(seed, env=None, cls=PPO, **options):
    kwargs = {"n_steps": 32, "batch_size": 32, "n_epochs": 2, "policy_kwargs": {"net_arch": [8]}, **options}
    return cls("MlpPolicy", env or Clock(), seed=seed, device="cpu", **kwargs)


def off_policy(cls, seed, continuous=False, **options):
    kwargs = {"learning_starts": 20, "buffer_size": 60, "policy_kwargs": {"net_arch": [8]}, **options}
    return cls("MlpPolicy", Clock(continuous), seed=seed, device="cpu", **kwargs)


class Counting(BaseCallback):
    seen = 0

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(3)

    def _on_step(self):
        self.seen += 1
        self.model.logger.record("noise", self.rng.random())
        return True


class Attributes(SB3Member):
    """Of the member and of a callback, which `score` and training change; an evaluation has an environment of its own."""

    def make(self, hp, seed):
        self.mean, self.history, self.evaluation = 0.0, [hp["bonus"]], Monitor(Clock())
        self.callback = [
            Counting(),
            EvalCallback(Monitor(Clock()), eval_freq=20, n_eval_episodes=2, verbose=0, deterministic=False),
        ]
        return ppo(seed)

    def score(self, returns):
        self.mean = 0.5 * self.mean + evaluate_policy(self.model, self.evaluation, 2, deterministic=False)[0]
        self.history.append(len(returns))
        counting, evaluating = self.callback
        return float(self.mean + sum(self.history) + counting.seen + counting.rng.random() + evaluating.best_mean_reward)


class Shared(SB3Member):
    callback = Counting()

    def make(self, hp, seed):
        return ppo(seed)

    def score(self, returns):
        return float(self.callback.seen + self.callback.n_calls)


class Curriculum(gym.Wrapper):
    level = 0

    def step(self, action):
        seen, reward, terminated, truncated, info = self.env.step(action)
        self.level += truncated
        return seen, reward + self.level, terminated, truncated, info


class Wrapped(SB3Member):
    """Normalisers of Gymnasium, two of Stable-Baselines3, and a wrapper that counts."""

    def make(self, hp, seed):
        def env():
            return NormalizeReward(NormalizeObservation(Curriculum(Clock())), gamma=0.5)

        inner = VecNormalize(DummyVecEnv([env, env]), norm_obs=False, gamma=0.5)
        return ppo(seed, VecNormalize(VecFrameStack(inner, 2), norm_reward=False))


class Decaying(NormalActionNoise):
    def __call__(self):
        self._sigma = self._sigma * 0.97
        return super().__call__()


class Noisy(SB3Member):
    def make(self, hp, seed):
        noise = Decaying(np.zeros(1), np.full(1, hp["sigma"]))
        return off_policy(TD3, seed, continuous=True, action_noise=noise)


class Tree:
    def __init__(self, size):
        self.weights = np.zeros(size)


class Prioritised(ReplayBuffer):
    def __init__(self, *args, power=0.5, **options):
        super().__init__(*args, **options)
        self.tree, self.most, self.power = Tree(self.buffer_size), 1.0, power

    def add(self, *args):
        self.tree.weights[self.pos] = self.most**self.power
        self.most *= 1.01
        super().add(*args)

    def sample(self, batch_size, env=None):
        weights = self.tree.weights[: self.size()]
        return self._get_samples(np.random.choice(len(weights), batch_size, p=weights / weights.sum()), env)


class Chosen(SB3Member):
    def make(self, hp, seed):
        options = {"replay_buffer_class": Prioritised, "replay_buffer_kwargs": {"power": hp["power"]}}
        return off_policy(DQN, seed, **options)


class Adaptive(PPO):
    beta = 1.0

    def train(self):
        super().train()
        self.beta *= 1.5
        self.vf_coef = 0.5 / self.beta


class Counted(BaseFeaturesExtractor):
    def __init__(self, space):
        super().__init__(space, 2)
        self.net, self.calls = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Dropout(0.5)), 0

    def forward(self, seen):
        self.calls += 1
        return self.net(seen) * (1 + 1 / self.calls)


class OwnClasses(SB3Member):
    def make(self, hp, seed):
        return ppo(seed, cls=Adaptive, policy_kwargs={"features_extractor_class": Counted, "net_arch": [8]})


class Digest:
    """Every metric that could tell two trainings apart."""

    steps = 32
    kind: type
    first: dict
    second: dict

    def member(self):
        class Digested(self.kind):
            def train(self, hp, steps):
                metrics = super().train(hp, steps)
                weights = [float(weight.detach().double().sum()) for weight in self.model.policy.parameters()]
                return {**metrics, "weights": sum(weights)}

        return Digested

    def values(self):
        return self.first, self.second


class TestAttributes(Digest, pt.testing.AdapterContract):
    kind, first, second, read_by_code = Attributes, {"lr": 1e-3, "bonus": 1}, {"lr": 1e-2, "bonus": 2}, ("bonus",)


class TestShared(Digest, pt.testing.AdapterContract):
    kind, first, second = Shared, {"lr": 1e-3}, {"lr": 1e-2}


class TestWrapped(Digest, pt.testing.AdapterContract):
    kind, first, second = Wrapped, {"gamma": 0.9}, {"gamma": 0.99}

    def derived(self, member):
        return {"inner": member.model.env.venv.venv.gamma, "count": float(member.model.env.venv.venv.ret_rms.count)}


class TestNoisy(Digest, pt.testing.AdapterContract):
    kind, first, second, read_by_code = Noisy, {"sigma": 0.5}, {"sigma": 0.1}, ("sigma",)


class TestChosen(Digest, pt.testing.AdapterContract):
    kind, first, second, read_by_code, steps = Chosen, {"power": 0.5}, {"power": 0.9}, ("power",), 50


class TestOwnClasses(Digest, pt.testing.AdapterContract):
    kind, first, second = OwnClasses, {"lr": 1e-3}, {"lr": 1e-2}


class Hump(SB3Member):
    """A rate that begins and ends at the same value, and a range that reads its value only when it is called."""

    def make(self, hp, seed):
        rate = hp["lr"]
        clip = lambda left: hp["clip_range"] if left > 0.2 else 0.1  # noqa: E731
        return ppo(seed, learning_rate=lambda left: 4 * rate * left * (1 - left) + 1e-5, clip_range=clip)


class TestHump(Digest, pt.testing.AdapterContract):
    kind, first, second = Hump, {"lr": 1e-3, "clip_range": 0.3}, {"lr": 1e-2, "clip_range": 0.2}
    read_by_code = ("lr", "clip_range")

    def test_the_rates_are_those_of_the_schedule(self):
        member = Hump({"lr": 1e-2, "clip_range": 0.3}, 1)
        member.set_budget(128)
        rates = []
        for _ in range(4):
            member.train({"lr": 1e-2, "clip_range": 0.3}, 32)
            rates.append(member.model.policy.optimizer.param_groups[0]["lr"])
        assert rates == pytest.approx([0.00751, 0.01001, 0.00751, 1e-5])


class Optional(SB3Member):
    def make(self, hp, seed):
        return ppo(seed)


class TestOptional(Digest, pt.testing.AdapterContract):
    kind = Optional
    first, second = {"clip_range_vf": None, "target_kl": None}, {"clip_range_vf": 0.2, "target_kl": 0.01}


class Soft(SB3Member):
    def make(self, hp, seed):
        return off_policy(SAC, seed, continuous=True, ent_coef=hp["ent_coef"])


class TestLearntOrFixedEntropy(Digest, pt.testing.AdapterContract):
    kind, first, second = Soft, {"ent_coef": "auto_0.5", "lr": 1e-3}, {"ent_coef": 0.1, "lr": 1e-2}


KINDS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


class Sizes(SB3Member):
    """The length of the buffer, of the returns, and the kind of optimiser."""

    def make(self, hp, seed):
        policy = {"net_arch": [8], "optimizer_class": KINDS[hp["kind"]]}
        return off_policy(DQN, seed, buffer_size=hp["size"], n_steps=hp["n_steps"], policy_kwargs=policy)


@pytest.mark.filterwarnings("ignore:policy.optimizer of a copy is")
class TestSizes(Digest, pt.testing.AdapterContract):
    kind, steps, read_by_code = Sizes, 50, ("kind", "size")
    first, second = {"kind": "adam", "size": 40, "n_steps": 1}, {"kind": "sgd", "size": 90, "n_steps": 3}


@pytest.mark.parametrize(("size", "other"), [(40, 90), (90, 40)])
def test_a_copy_with_another_buffer_has_the_newest_transitions_in_their_order(size, other, tmp_path):
    hp = {"kind": "adam", "size": size, "n_steps": 1}
    parent, copied = Sizes(hp, 1), Sizes({**hp, "size": other}, 2)
    parent.train(hp, 65)
    parent.save(tmp_path)
    copied.load(tmp_path)
    buffer, kept = copied.model.replay_buffer, min(size, other, 65)
    newest = [step % 10 for step in range(parent.model.num_timesteps)][-kept:]
    assert buffer.observations[:kept, 0, 0].tolist() == newest
    assert (buffer.size(), buffer.pos, buffer.full) == (kept, kept % other, kept == other)


@pytest.mark.parametrize("name", ["width", "envs"])
def test_a_copy_with_another_structure_is_a_sentence(name, tmp_path):
    class Structured(SB3Member):
        def make(self, hp, seed):
            options = {"learning_starts": 20, "buffer_size": 60, "policy_kwargs": {"net_arch": [hp["width"]]}}
            return DQN("MlpPolicy", DummyVecEnv([Clock] * hp["envs"]), seed=seed, device="cpu", **options)

    hp = {"width": 4, "envs": 1}
    parent, copied = Structured(hp, 1), Structured({**hp, name: 2}, 2)
    parent.train(hp, 30)
    parent.save(tmp_path)
    with pytest.raises(pt.UsageError, match=r"static=True"):
        copied.load(tmp_path)


NORMALISERS = {
    "none": lambda env: DummyVecEnv([env]),
    "rewards": lambda env: VecNormalize(DummyVecEnv([env]), norm_obs=False),
    "both": lambda env: VecNormalize(DummyVecEnv([env])),
    "inside": lambda env: DummyVecEnv([lambda: NormalizeReward(env())]),
}


class Normalising(SB3Member):
    def make(self, hp, seed):
        return ppo(seed, NORMALISERS[hp["kind"]](Clock))


@pytest.mark.parametrize("kinds", list(permutations(NORMALISERS, 2)))
def test_a_copy_with_other_normalisers_is_a_sentence_and_an_old_checkpoint_still_loads(kinds, tmp_path):
    parent, copied = (Normalising({"kind": kind}, 1) for kind in kinds)
    state = parent._state()
    with pytest.raises(pt.UsageError, match=r"^the checkpoint has the statistics of .*, and a member with .* static=True\.$"):
        copied._put(state)
    del state["normalisers"]
    copied._put(state)  # of a version that did not record them


def test_environments_that_can_be_there_once_are_enough():
    class Port(Clock):
        taken = False

        def __init__(self):
            super().__init__()
            assert not Port.taken, "the port is taken"
            Port.taken = self.mine = True

        def close(self):
            Port.taken = Port.taken and not self.mine

    class Single(SB3Member):
        def make(self, hp, seed):
            return ppo(seed, Port(), learning_rate=lambda left: hp["lr"] * left)

    done = pt.run(pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-2)), population=3, interval=32), Single, stop=pt.steps(96))
    assert all(done.history.ok(id) for id in range(done.history.n))


class Stops(Counting):
    def _on_step(self):
        return False


def made(make, **attributes):
    return type("Odd", (SB3Member,), {"make": make, **attributes})


@pytest.mark.parametrize(
    ("cls", "hp", "words"),
    [
        (made(lambda self, hp, seed: None), {"lr": 1e-3}, "make of Odd returned NoneType"),
        (made(lambda self, hp, seed: ppo(seed, learning_rate=lambda left: left * 1e-3)), {"lr": 1e-3}, "schedule of its own"),
        (made(lambda self, hp, seed: ppo(seed)), {"net": {"width": 3}}, r"hp\['net'\]\['width'\]"),
        (
            made(lambda self, hp, seed: ppo(seed, SubprocVecEnv([lambda: NormalizeReward(Clock())], start_method="fork"))),
            {"lr": 1e-3},
            "NormalizeReward, whose statistics",
        ),
    ],
    ids=["nothing made", "schedule", "nested", "other process"],
)
def test_what_cannot_work_is_a_sentence(cls, hp, words):
    with warnings.catch_warnings(), pytest.raises(pt.UsageError, match=words):
        warnings.simplefilter("ignore", DeprecationWarning)
        cls(hp, 1)


def test_nested_values_reach_make():
    cls = made(lambda self, hp, seed: ppo(seed, policy_kwargs={"net_arch": [hp["net"]["width"]]}))
    assert cls({"net": {"width": 3}, "lr": 1e-3}, 1).model.policy.mlp_extractor.policy_net[0].out_features == 3


@pytest.mark.parametrize("callback", [[Counting(), Counting()], lambda self, inner, outer: True], ids=["list", "function"])
def test_a_callback_may_be_all_that_learn_accepts(callback):
    assert made(lambda self, hp, seed: ppo(seed), callback=callback)({"lr": 1e-3}, 1).train({"lr": 1e-3}, 32)["steps"] == 32


def test_a_callback_that_stops_an_interval_is_reported():
    with pytest.warns(RuntimeWarning, match="a callback of Odd stopped an interval after 1 of 32 steps"):
        made(lambda self, hp, seed: ppo(seed), callback=Stops())({"lr": 1e-3}, 1).train({"lr": 1e-3}, 32)
