"""Small runs of every agent and team, and a process that trains one of them until its simulator kills it.

python -m tests.rl.killed NAME DIRECTORY STEP
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from itertools import count
from pathlib import Path

import poptrain as pt
from poptrain.rl import CEMRL, DDPG, ERL, P3S, PPO, SAC, SVPG, TD3, VMPO
from poptrain.rl.envs import make

OFF = {"env": "Pendulum-v1", "horizon": 20, "hidden": (8,), "batch_size": 8, "learning_starts": 20}
ON = {"env": "Pendulum-v1", "horizon": 20, "hidden": (8,), "num_envs": 2, "train_batch_size": 48, "chunk": 8, "epochs": 1}
AGENTS = {
    "td3": TD3(**OFF, update_every=10),
    "ddpg": DDPG(**OFF, update_every=10),
    "sac": SAC(**OFF, update_every=10),
    "vmpo": VMPO(**ON, minibatch_size=16),
    "ppo": PPO(**ON, minibatch_size=16),
    "cem-rl": CEMRL(**OFF, population_size=4, gradients=2),
    "p3s": P3S(**OFF, learners=2, period=20, update_every=10),
    "erl": ERL(**OFF, critic_hidden=(8, 8), population_size=3, champion_episodes=1, synchronise=2),
    "svpg": SVPG(**ON, particles=2, minibatch_size=16),
}


def train(name: str, directory: Path | None) -> pt.Run:
    """Returns a run of two members over four intervals; it continues what `directory` holds."""
    space = pt.Space(discount=pt.Uniform(0.9, 0.99))
    algorithm = pt.pbt(space, population=2, interval=80, exploit=pt.truncation(0.5))
    with warnings.catch_warnings(action="ignore"):
        return pt.run(algorithm, AGENTS[name], stop=pt.steps(320), executor="vectorized", directory=directory, progress=False)


def at_every_step(act) -> None:
    """Calls `act` with the number of each step that any simulator of this process makes from now on."""
    simulator = make("Pendulum-v1").open([0], 1, None)
    simulator.close()
    kind, steps = type(simulator), count(1)
    send = kind.send

    def counted(self, actions, ids):
        act(next(steps))
        send(self, actions, ids)

    kind.send = counted


if __name__ == "__main__":
    name, directory, last = sys.argv[1:]
    at_every_step(lambda step: step == int(last) and os.kill(os.getpid(), signal.SIGKILL))
    train(name, Path(directory))
