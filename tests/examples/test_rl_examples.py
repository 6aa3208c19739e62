"""The examples with agents and teams run at a tiny size, and do what they say: both need EnvPool's HalfCheetah."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import poptrain as pt
from poptrain.engine.experiment import load
from poptrain.engine.loop import execute

pytest.importorskip("jax")
pytest.importorskip("envpool")

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fewer than the longest episode", "ignore:no member will ever copy"),
]


def tiny(name, interval, steps, **sizes):
    """Returns the experiment of an example, and the same with small networks, short episodes and few steps."""
    found = load(EXAMPLES / name)
    algorithm, agent = replace(found.algorithm, interval=interval), replace(found.trainable, hidden=(8,), horizon=20, **sizes)
    return found, replace(found, algorithm=algorithm, trainable=agent, stop=pt.steps(steps))


def test_an_interval_of_the_team_is_a_generation_whose_actors_are_reported():
    found, small = tiny("halfcheetah_cem_rl.py", 200, 400, learning_starts=0, batch_size=16)
    assert found.algorithm.interval == found.trainable.population_size * 1000 == 10_000
    run = execute(small, None)
    metrics = [run.history.result(task).metrics for task in range(run.history.n)]
    assert [each["generation"] for each in metrics] == [1, 2] and np.isfinite(run.history.scores).all()
    assert all(np.isfinite(each[f"team/{i}"]) for each in metrics for i in range(10)) and "team/10" not in metrics[0]
    assert [each["updates"] for each in metrics] == [0, 5 * (200 // 5) + 5 * 200], "of the critics, and of five actors"


def test_the_worst_agent_goes_on_from_a_copy_of_the_best_with_its_memory_and_other_hyperparameters():
    _, small = tiny("pbt_over_td3.py", 60, 180, learning_starts=40, batch_size=16)
    run = execute(small, None)
    history, tasks = run.history, [run.history.task(id) for id in range(run.history.n)]
    copies = [task for task in tasks if task.parent is not None and history.task(task.parent).member != task.member]
    assert history.n == 4 * 3 and len(copies) == 2
    for task in copies:
        scores = {each.member: history.scores[each.id] for each in tasks[task.id // 4 * 4 - 4 : task.id // 4 * 4]}
        assert task.member == min(scores, key=scores.get) and history.task(task.parent).member == max(scores, key=scores.get)
        assert task.hparams != history.task(task.parent).hparams
    assert run.best.load()["replay"]["count"] == 180, "a memory has the rows of its whole lineage"
