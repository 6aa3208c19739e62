"""A script in the style of CleanRL under `pt.command`: it learns from interval to interval, and trains with its own rate."""

from __future__ import annotations

from pathlib import Path

import pytest

import poptrain as pt
from poptrain.engine.experiment import load

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.heavy
def test_every_call_of_the_script_trains_with_the_rate_of_its_task(tmp_path):
    """Also a copy, although the optimiser that it loads has the rate of its parent."""
    pytest.importorskip("torch")
    pytest.importorskip("gymnasium")
    found = load(EXAMPLES / "cleanrl_style.py")
    algorithm = pt.pbt(found.algorithm.space, population=2, interval=512, exploit=pt.truncation(0.5), explore=pt.resample())
    run = pt.run(algorithm, found.trainable, stop=pt.steps(1024), directory=tmp_path / "run")
    history = run.history
    tasks = [history.task(id) for id in range(history.n)]
    copies = [task for task in tasks if task.parent is not None and history.task(task.parent).member != task.member]
    assert history.n == 4 and copies
    for task in tasks:
        assert history.result(task.id).metrics["learning_rate"] == task.hparams["lr"]
    assert (run.best.load() / "agent.pt").exists()
