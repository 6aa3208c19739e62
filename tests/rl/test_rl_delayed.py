# ruff: noqa: E402
"""Environments with delayed rewards: paid in full, on time, at the end of an episode, and never after it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("gymnasium")

from poptrain.core.errors import UsageError
from poptrain.rl.envs import make
from poptrain.rl.envs.delayed import delayed
from poptrain.rl.envs.spec import Arrival, EnvSpec, HostBackend


class Scripted:
    """Two environments with reward 1 a step, whose episodes end by themselves after 7 steps and by a time limit after 5."""

    def __init__(self):
        self.tick, self.lengths = np.zeros(2, int), np.asarray([7, 5])

    def send(self, actions, ids):
        pass

    def recv(self):
        step = self.tick % (self.lengths + 1)  # 0 is the reset
        self.tick += 1
        over = step == self.lengths
        order = np.asarray([1, 0])  # arrivals have no particular order
        arrival = Arrival(
            np.arange(2), np.zeros((2, 1)), (step > 0).astype(np.float32), over & [True, False], over & [False, True]
        )
        return Arrival(*(part[order] for part in arrival))

    def close(self):
        pass


def paid(every, ticks=16):
    simulator = delayed(HostBackend(EnvSpec("x", 1, 1, False), lambda *_: Scripted()), "delayed/x", every).open([0, 1], 2, None)
    rewards = np.zeros((ticks, 2))
    for row in rewards:
        arrival = simulator.recv()
        row[arrival.ids] = arrival.rewards
    return rewards


def test_rewards_are_paid_every_few_steps_and_at_the_end_and_a_new_episode_owes_nothing():
    rewards = paid(3)
    assert rewards[:, 0].tolist() == [0, 0, 0, 3, 0, 0, 3, 1] * 2
    assert rewards[:, 1].tolist() == [0, 0, 0, 3, 0, 2] * 2 + [0, 0, 0, 3]


def test_a_delay_of_one_step_changes_nothing_and_a_long_one_pays_at_the_end():
    assert paid(1)[:, 0].tolist() == [0, *[1] * 7] * 2
    assert paid(100)[:, 0].tolist() == [*[0] * 7, 7] * 2


def test_an_episode_of_a_real_environment_has_the_same_sum():
    def rewards(name):
        simulator, ids = make(name, "gymnasium").open([3], 1, 50), np.zeros(1, np.int32)
        found = [simulator.recv().rewards[0]]
        for _ in range(50):
            simulator.send(np.asarray([[0.5]], np.float32), ids)
            found.append(simulator.recv().rewards[0])
        simulator.close()
        return np.asarray(found)

    plain, late = rewards("Pendulum-v1"), rewards("delayed/Pendulum-v1")
    assert np.flatnonzero(late).tolist() == [20, 40, 50] and late.sum() == pytest.approx(plain.sum(), rel=1e-5)
    assert make("delayed-5/Pendulum-v1").spec.name == "delayed-5/Pendulum-v1"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("delayed-0/Pendulum-v1", "at least 1 step"),
        ("delayed/jax/Pendulum-v1", "Use a simulated one"),
        ("delayed/Pendulum-v11", "Did you mean 'Pendulum-v1'"),
    ],
)
def test_what_cannot_be_delayed_is_refused(name, message):
    with pytest.raises(UsageError, match=message):
        make(name)
