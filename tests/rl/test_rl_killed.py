# ruff: noqa: E402
"""A process that is killed in the middle of an interval: the run ends bit for bit as one that nothing interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest

import poptrain as pt

pytest.importorskip("jax")
pytest.importorskip("gymnasium")

from poptrain._jax import jax
from tests.rl import killed


@pytest.mark.heavy
@pytest.mark.parametrize("name", killed.AGENTS)
def test_a_killed_run_ends_as_one_that_nothing_interrupted(name, tmp_path, monkeypatch):
    steps = []
    simulator = killed.make("Pendulum-v1").open([0], 1, None)
    simulator.close()
    with monkeypatch.context() as patch:
        patch.setattr(type(simulator), "send", type(simulator).send)  # put back what `at_every_step` changes
        killed.at_every_step(steps.append)
        whole = killed.train(name, tmp_path / "whole")
    command = [sys.executable, "-m", "tests.rl.killed", name, str(tmp_path / "killed"), str(int(0.6 * len(steps)))]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    history = pt.open_run(tmp_path / "killed").history
    assert history.pending() and len(history.scores), "it died in an interval, and not in the first one"
    resumed = killed.train(name, tmp_path / "killed")
    np.testing.assert_array_equal(whole.history.scores, resumed.history.scores)
    for seat in range(2):
        leaves = zip(*(jax.tree.leaves(run.member(seat).load()) for run in (whole, resumed)), strict=True)
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in leaves)
