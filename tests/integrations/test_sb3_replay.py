"""A replay buffer on the disk: a checkpoint writes what is new, measured in bytes, and a resumed run continues bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import poptrain as pt

pytestmark = pytest.mark.heavy
pytest.importorskip("stable_baselines3")

import gymnasium as gym  # noqa: E402
import torch  # noqa: E402
from gymnasium.spaces import Box, Dict  # noqa: E402
from stable_baselines3 import SAC, TD3  # noqa: E402
from stable_baselines3.her import HerReplayBuffer  # noqa: E402

from poptrain.core.errors import CheckpointDamaged  # noqa: E402
from poptrain.integrations.blocks import BLOCK_BYTES  # noqa: E402
from poptrain.integrations.sb3 import SB3Member  # noqa: E402

torch.set_num_threads(1)
WIDE = 2048  # numbers of an observation: a buffer is large after few steps
FIRST, NEXT = 400, 40  # steps before the first checkpoint, and between two later ones


class Wide(gym.Env):
    """A noisy point that should go to a goal; the observation is wide."""

    observation_space = Dict(
        {name: Box(-9, 9, (n,)) for name, n in (("observation", WIDE), ("achieved_goal", 1), ("desired_goal", 1))}
    )
    action_space = Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.goal, self.t = 0.0, float(self.np_random.uniform(-1, 1)), 0
        return self.seen(), {}

    def step(self, action):
        self.x, self.t = float(np.clip(self.x + 0.2 * float(action[0]), -2, 2)), self.t + 1
        seen = self.seen()
        return seen, float(self.compute_reward(seen["achieved_goal"], seen["desired_goal"], {})), False, self.t == 10, {}

    def seen(self):
        noise = self.np_random.normal(size=WIDE).clip(-9, 9).astype(np.float32)
        return {"observation": noise, "achieved_goal": np.float32([self.x]), "desired_goal": np.float32([self.goal])}

    def compute_reward(self, achieved, desired, info):
        return -np.abs(achieved - desired)[..., 0]


OPTIONS = {"learning_starts": 60, "train_freq": 20, "gradient_steps": 1, "batch_size": 16, "device": "cpu"}


class Goal(SB3Member):
    def make(self, hp, seed):
        return SAC("MultiInputPolicy", Wide(), buffer_size=5_000, replay_buffer_class=HerReplayBuffer, seed=seed,
                   policy_kwargs={"net_arch": [8]}, **OPTIONS)  # fmt: skip


class Reporting(Wide):
    """Its rewards need what it reported at each step."""

    more: dict = {}

    def step(self, action):
        seen, reward, ended, cut, info = super().step(action)
        about = {"scale": 1.0 + self.t, "at": np.float32([self.x]), "is_success": np.bool_(False), "words": ("a", {"b": None})}
        return seen, reward, ended, cut, {**info, **about, **self.more}

    def compute_reward(self, achieved, desired, info):
        scales = [each["scale"] for each in info] if isinstance(info, (list, np.ndarray)) else 1.0
        return super().compute_reward(achieved, desired, info) * scales


class Informed(SB3Member):
    def make(self, hp, seed):
        return SAC("MultiInputPolicy", Reporting(), buffer_size=FIRST + 2 * NEXT, replay_buffer_class=HerReplayBuffer, seed=seed,
                   replay_buffer_kwargs={"copy_info_dict": True}, policy_kwargs={"net_arch": [8]}, **OPTIONS)  # fmt: skip


class Plain(SB3Member):
    """Its buffer is full after a few intervals, and is written over from the beginning."""

    def make(self, hp, seed):
        env = gym.wrappers.FilterObservation(Wide(), ["observation"])
        env = gym.wrappers.FlattenObservation(env)
        return TD3("MlpPolicy", env, buffer_size=FIRST + 2 * NEXT, seed=seed, policy_kwargs={"net_arch": [8]}, **OPTIONS)


def files(directory: Path) -> dict[int, int]:
    """Returns the bytes of every file of a checkpoint by its number on the disk: two names of one file have the same."""
    return {path.stat().st_ino: path.stat().st_size for path in directory.rglob("*") if path.is_file()}


def weights(directory: Path) -> int:
    """Returns the bytes of all that is not the buffer."""
    return max(path.stat().st_size for path in directory.glob("*/state.safetensors")) + 100_000


@pytest.mark.parametrize("member", [Goal, Informed, Plain])
def test_a_checkpoint_writes_only_what_is_new(member, tmp_path):
    live = member({"lr": 1e-3}, 1)
    known, written, sizes = {}, [], []
    for number in range(5):
        live.train({"lr": 1e-3}, NEXT if number else FIRST)
        place = tmp_path / f".tmp-{number}"
        place.mkdir()
        live.save(place)
        place = place.rename(tmp_path / f"{number}")  # as a store does when the checkpoint is complete
        if number == 3:
            live = member({"lr": 2e-3}, 2)  # a copy on another seat
            live.load(place)
        held = files(place)
        written.append(sum(size for number, size in held.items() if number not in known))
        sizes.append(sum(held.values()))
        known |= held
    new = NEXT * 2 * 4 * WIDE  # bytes of the transitions of an interval: an observation and the next one
    assert min(sizes) > 10 * new, "most of a checkpoint is its buffer"
    assert max(written[1:]) <= new + 2 * BLOCK_BYTES + weights(tmp_path), (written, sizes)
    live.close()


@pytest.mark.parametrize("member", [Goal, Informed, Plain])
def test_a_run_that_was_continued_ends_as_one_that_was_not(member, tmp_path):
    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-2))
    algorithm = pt.pbt(space, population=2, interval=100, exploit=pt.truncation(0.5))

    def run(name, steps):
        return pt.run(algorithm, member, stop=pt.steps(steps), directory=tmp_path / name, seed=1, progress=False)

    whole = run("whole", 500)
    for steps in (200, 300, 500):
        parts = run("parts", steps)
    for seat in (0, 1):
        one, other = whole.member(seat), parts.member(seat)
        assert one.score == other.score and one.hparams == other.hparams
        mine, theirs = one.load(), other.load()
        for a, b in zip(mine.model.policy.state_dict().values(), theirs.model.policy.state_dict().values(), strict=True):
            assert torch.equal(a, b)
        a, b = mine.model.replay_buffer, theirs.model.replay_buffer
        assert a.pos == b.pos and np.array_equal(a.rewards, b.rewards) and np.array_equal(a.actions, b.actions)
        mine.close(), theirs.close()


def same(one, other):
    """True if two trees of plain values and arrays are equal, types included."""
    if isinstance(one, dict):
        return set(one) == set(other) and all(same(item, other[key]) for key, item in one.items())
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and np.array_equal(one, other)


def test_what_the_environment_reported_comes_back_exactly_and_only_new_steps_are_packed(tmp_path, monkeypatch):
    from poptrain.integrations.sb3 import state

    live, packs = Informed({"lr": 1e-3}, 1), []
    monkeypatch.setattr(state, "packed", lambda rows, pack=state.packed: packs.append(len(rows)) or pack(rows))
    for number, steps in enumerate((FIRST, NEXT, NEXT, NEXT)):  # the last interval writes over the first steps
        live.train({"lr": 1e-3}, steps)
        (place := tmp_path / f"{number}").mkdir()
        live.save(place)
        copied = Informed({"lr": 1e-3}, 2)
        copied.load(place)
        mine, theirs = live.model.replay_buffer.infos, copied.model.replay_buffer.infos
        assert all(map(same, mine.ravel(), theirs.ravel())) and "scale" in mine[0, 0]
        copied.close()
    assert len(packs) == 2 + 1 + 1 + 1, "of the two blocks, only those with new steps"
    live.close()


@pytest.mark.parametrize("value", [object(), np.array([None])])
def test_what_the_environment_reported_is_refused_with_its_name_if_it_cannot_be_stored(value, tmp_path, monkeypatch):
    monkeypatch.setattr(Reporting, "more", {"simulator": {"handle": value}})
    live = Informed({"lr": 1e-3}, 1)
    live.train({"lr": 1e-3}, 70)
    with pytest.raises(pt.UsageError, match=r"info\['simulator'\]\['handle'\] is .*copy_info_dict=False"):
        live.save(tmp_path)
    live.close()


def test_a_block_that_the_disk_has_changed_is_damage_and_not_another_memory(tmp_path):
    live = Plain({"lr": 1e-3}, 1)
    live.train({"lr": 1e-3}, 50)
    live.save(tmp_path)
    (block,) = (tmp_path / "blocks").iterdir()
    data = bytearray(block.read_bytes())
    data[100] ^= 1
    block.write_bytes(data)
    with pytest.raises(CheckpointDamaged, match="differs from the hash that is its name"):
        live.load(tmp_path)
    live.close()
