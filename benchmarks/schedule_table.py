"""Trains every schedule of three rounds out of nine settings of PPO, so that an algorithm can be judged by looking up.

    nohup nice python -m benchmarks.schedule_table &     # about 10 minutes a training; goes on where it stopped

Nine settings (three learning rates and three discounts), three rounds: 9 + 81 + 729 policies, trained three times on each task. A
policy continues from the one with the same settings before. `benchmarks.value` runs algorithms on these tables (``tables``).

The returns are means over 20 episodes of the deterministic policy, with one set of starts for each training.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.common import command_line, machine

RESULTS = Path(__file__).parent / "results" / "schedule_table"
RATES, DISCOUNTS = (1e-2, 1e-3, 1e-4), (0.95, 0.98, 0.99)
SETTINGS = [(rate, discount) for rate in RATES for discount in DISCOUNTS]
ROUNDS, TRAININGS, EPISODES = 3, 3, 20
TASKS = {  # environment, steps of a round, and of a batch
    "cartpole": ("jax/CartPole-v1", 1_500, 500),
    "pendulum": ("jax/Pendulum-v1", 30_000, 4_000),
}
LANES = 81  # policies that are trained in one program
Levels = list[list[float]]  # by round: the returns of the policies; children of one parent are neighbours, as in SETTINGS


def training(env: str, steps: int, batch: int, seed: int, rounds: int = ROUNDS) -> tuple[float, Levels]:
    """Returns the return of the untrained policy, and those of all schedules."""
    from poptrain._jax import jax
    from poptrain.rl import PPO
    from poptrain.rl.trees import take

    agent = PPO(env=env, hidden=(32, 32), num_envs=8, epochs=5, minibatch_size=64, chunk=64)
    returns = lambda carry, lane: float(agent.evaluate(carry, lane, EPISODES, 5 + seed).mean())
    chosen = np.arange(len(SETTINGS))  # the newest setting of every policy
    carry = agent.init(_hparams(chosen, batch), np.full(len(chosen), seed, np.uint32))
    untrained, levels = returns(carry, 0), []
    for number in range(rounds):
        parts = []
        for at in range(0, len(chosen), LANES):
            lanes = slice(at, at + LANES)
            seeds = np.random.default_rng([seed, 100_000 * number + at]).integers(0, 2**31, len(chosen[lanes])).astype(np.uint32)
            part, _ = agent.train(take(carry, lanes), _hparams(chosen[lanes], batch), steps, seeds)
            parts.append(part)
        carry = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
        levels.append([round(returns(carry, lane), 2) for lane in range(len(chosen))])
        print(env, seed, number, np.percentile(levels[-1], [0, 50, 100]), flush=True)
        carry = jax.tree.map(lambda array: np.repeat(array, len(SETTINGS), axis=0), carry)
        chosen = np.tile(np.arange(len(SETTINGS)), len(chosen))
    return untrained, levels


def _hparams(chosen: Sequence[int] | np.ndarray, batch: int) -> dict[str, np.ndarray]:
    rates, discounts = zip(*(SETTINGS[index] for index in chosen), strict=True)
    return {"lr": np.array(rates), "discount": np.array(discounts), "train_batch_size": np.full(len(chosen), batch)}


def table_of(task: str) -> Path:
    """Returns the file of a table."""
    return RESULTS / f"{task}.json"


@cache
def stored(task: str) -> tuple[float, list[list[np.ndarray]]]:
    """Returns the return of the untrained policy, a mean, and those of all schedules by training and round."""
    runs = json.loads(table_of(task).read_text())["trainings"].values()
    return float(np.mean([run["untrained"] for run in runs])), [[np.array(level) for level in run["returns"]] for run in runs]


def main() -> None:
    """Makes the trainings that are missing."""
    options = command_line("schedule_table", __doc__, "one round of one training of each task; nothing is stored").parse_args()
    for task, (env, steps, batch) in TASKS.items():
        path = table_of(task)
        found = json.loads(path.read_text())["trainings"] if path.exists() and not options.quick else {}
        for seed in range(1 if options.quick else TRAININGS):
            if str(seed) not in found:
                untrained, levels = training(env, steps, batch, seed, 1 if options.quick else ROUNDS)
                found[str(seed)] = {"untrained": untrained, "returns": levels}
                if not options.quick:
                    RESULTS.mkdir(exist_ok=True)
                    about = {"env": env, "steps": steps, "batch": batch, "settings": SETTINGS, "machine": machine()}
                    path.write_text(json.dumps(about | {"trainings": found}) + "\n")
        if options.json:
            print(json.dumps({"benchmark": "schedule_table", "task": task, "trainings": len(found)}), flush=True)


if __name__ == "__main__":
    main()
