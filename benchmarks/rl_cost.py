"""What teams of reinforcement learning cost besides their gradient updates: CPU time of a team, over that of its updates alone.

    python -m benchmarks.rl_cost [--quick] [--json]

A team trains on HalfCheetah with the networks and batches of its defaults; then the same number of updates runs without actors,
environments and memory. P3S is compared with updates of TD3. Both are CPU times of this process, the smallest of three, so that a
busy machine disturbs their ratio little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.common import figure, main
from poptrain.core.rng import rng
from poptrain.rl import ERL, P3S, TD3
from poptrain.rl.envs import make
from poptrain.rl.hparams import of_member
from poptrain.rl.loops.off_policy import BURST, learner_for
from poptrain.rl.memory.rows import Row
from poptrain.rl.teams.erl import LEARNER

SETTINGS = {"env": "HalfCheetah-v5", "horizon": 100, "learning_starts": 0}
FRAMES = 1100


def team_interval(team: Any) -> tuple[Callable[[], object], int]:
    """Returns an interval of a team that has trained before, and the updates in it."""
    carry, before = team.train(team.init({}, [0]), {}, 100, [1])
    _, metrics = team.train(carry, {}, FRAMES, [2])
    return lambda: team.train(carry, {}, FRAMES, [2]), int(metrics["updates"][0] - before["updates"][0])


def updates_alone(agent: Any, updates: int) -> Callable[[], None]:
    """Returns that many updates, in bursts of the usual size."""
    spec, functions = make(agent.env).spec, agent.functions()
    row = Row(spec.observation, spec.actions)
    learner = learner_for(functions, row, agent.batch_size)
    names = LEARNER if isinstance(agent, ERL) else agent.ranges
    hparams = {name: value for name, value in of_member(agent._resolve({}, 1), 0).items() if name in names}
    fresh, rows = functions.init(spec.observation, spec.actions, rng(0, "init")), learner.buffer()
    rows.view(np.float32)[:] = rng(0, "rows").normal(size=rows.shape)

    def run() -> None:
        state = fresh
        for done in range(0, updates, BURST):
            state, diagnostics = learner.burst(state, rows, min(BURST, updates - done), hparams, 0, done)
            np.asarray(diagnostics)

    run()
    return run


def cpu(work: Callable[[], object]) -> float:
    """Returns the CPU seconds of this process that some work takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(quick: bool) -> Iterator[dict[str, Any]]:
    """Yields the ratio of each team, and of a lone TD3."""
    settings = SETTINGS | ({"hidden": (16,)} if quick else {})
    td3, erl = TD3(**settings), ERL(**settings)
    for name, (team, learner) in {"TD3": (td3, td3), "P3S": (P3S(**settings), td3), "ERL": (erl, erl)}.items():
        whole, updates = team_interval(team)
        alone = updates_alone(learner, updates)
        rounds = [(cpu(whole), cpu(alone)) for _ in range(3)]
        ratio = min(each for each, _ in rounds) / min(each for _, each in rounds)
        text, bounded = f"{name}: CPU time of {FRAMES} frames, over that of {updates} updates", name != "TD3" and not quick
        yield figure(text, ratio, "x", "<= 1.15" if bounded else "", ratio <= 1.15 if bounded else None)


if __name__ == "__main__":
    main("rl_cost", measure, __doc__)
