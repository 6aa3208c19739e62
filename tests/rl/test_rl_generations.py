# ruff: noqa: E402
"""PPO through a change of the generation: killed while it distils, verified, and replayed alone."""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest

import poptrain as pt

pytest.importorskip("jax")

from poptrain._jax import jax
from tests.rl import distilled

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return distilled.train(tmp_path_factory.mktemp("whole") / "run")


def weights(run, member):
    return jax.tree.leaves(run.member(member).load())


def students_of(history):
    return [task for task in map(history.task, range(history.n)) if task.role == "candidate"]


@pytest.mark.parametrize("call", [2, 5])  # the second program of the first rung; the second half of the last rung
def test_a_run_that_was_killed_while_it_distilled_ends_bit_for_bit_the_same(whole, call, tmp_path):
    command = [sys.executable, "-m", "tests.rl.distilled", str(tmp_path / "run"), str(call)]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    stopped = pt.open_run(tmp_path / "run").history
    assert {stopped.task(task.id).role for task in stopped.pending()} == {"candidate"}
    resumed = distilled.train(tmp_path / "run")
    assert list(map(resumed.history.task, range(resumed.history.n))) == list(map(whole.history.task, range(whole.history.n)))
    np.testing.assert_array_equal(whole.history.scores, resumed.history.scores)
    for member in range(2):
        leaves = zip(weights(whole, member), weights(resumed, member), strict=True)
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in leaves)


def test_it_verifies_with_the_students_that_learned_from_a_member(whole):
    history, students = whole.history, students_of(whole.history)
    assert history.oks.all() and pt.verify(whole.record.directory, distilled.EXPERIMENT).ok
    assert {task.hparams["policy_width"] for task in students} == {4, 8}
    taught = [history.result(task.id).metrics for task in students]
    assert all(np.isfinite([each["teacher_kl"], each["teacher_value_loss"]]).all() for each in taught)
    alphas = [each["alpha"] for each in taught]
    assert alphas == sorted(alphas, reverse=True) and np.isclose(alphas[-1], 0.05), "it goes on from rung to rung"


def test_its_schedule_is_replayed_with_the_distillation(whole, tmp_path):
    last, history = int(whole.history.heads()[0]), whole.history
    again = pt.replay(whole, task=last, same_seeds=True, executor="vectorized", directory=tmp_path / "again", progress=False)
    assert pt.verify(tmp_path / "again").ok
    end = int(again.history.n - 1)
    assert again.history.step(end) == history.step(last)
    taught = [task for task in map(again.history.task, range(again.history.n)) if task.teacher is not None]
    assert [task.progress for task in taught] == [(0.0, 0.125), (0.125, 0.375), (0.375, 1.0)]
    line = [id for id in history.descent(last) if id in {task.id for task in students_of(history)}]
    for task, id in zip(taught, line, strict=True):  # the same seeds and teacher; another number of lanes rounds otherwise
        assert np.isclose(again.history.score(task.id), history.score(id), rtol=1e-3)
