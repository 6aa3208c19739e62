"""A small run of PPO whose generations change, and a process that trains it until it is killed while it distils.

python -m tests.rl.distilled DIRECTORY CALL
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from itertools import count
from pathlib import Path

import poptrain as pt
from poptrain.rl import PPO

AGENT = PPO(
    env="jax/Pendulum-v1", hidden=(8,), num_envs=2, horizon=10, train_batch_size=32, minibatch_size=16, epochs=1, chunk=16
)
SPACE = pt.Space(
    lr=pt.LogUniform(1e-4, 1e-2), discount=pt.Uniform(0.9, 0.99), policy_width=pt.Ordinal(4, 8, static=True)
)  # fmt: skip
GENERATIONS = pt.Generations(distill=256, every=64, most=1, candidates=4)
ALGORITHM = pt.bg_pbt(SPACE, population=2, interval=64, exploit=pt.truncation(0.5), generations=GENERATIONS)
EXPERIMENT = pt.Experiment(ALGORITHM, AGENT, stop=pt.steps(640), executor="vectorized")


def train(directory: Path | None) -> pt.Run:
    """Returns the run; it continues what `directory` holds."""
    with warnings.catch_warnings(action="ignore"):
        return pt.run(EXPERIMENT, directory=directory, progress=False)


def at_every_lesson(act) -> None:
    """Calls `act` with the number of each call of `PPO.distill` in this process from now on."""
    calls, distill = count(1), PPO.distill

    def counted(self, *args, **others):
        act(next(calls))
        return distill(self, *args, **others)

    PPO.distill = counted


if __name__ == "__main__":
    directory, last = sys.argv[1:]
    at_every_lesson(lambda call: call == int(last) and os.kill(os.getpid(), signal.SIGKILL))
    train(Path(directory))
