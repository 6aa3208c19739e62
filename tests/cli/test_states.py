"""What a command says about a run is true of its state: empty, failed, suspended, finished, or being trained."""

from __future__ import annotations

import os
import platform

import pytest

import poptrain as pt
from poptrain.cli import main
from poptrain.testing import Faulty, quadratic

PBT = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=3, interval=5)
EXPERIMENT = """
import poptrain as pt
from poptrain.testing import quadratic
experiment = pt.Experiment(pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=3, interval=5), quadratic, stop=pt.steps(5))
"""


@pytest.fixture
def states(tmp_path, monkeypatch):
    """A directory with one run for each state, which is the current one."""
    monkeypatch.chdir(tmp_path)

    def interrupted(carry, hp, steps, seed):
        raise KeyboardInterrupt

    with pytest.raises(pt.errors.RunFailed), pytest.warns(pt.errors.RunWarning):
        pt.run(PBT, Faulty("raise"), stop=pt.steps(5), directory="failed", progress=False)
    with pytest.raises(KeyboardInterrupt):
        pt.run(PBT, interrupted, stop=pt.steps(5), directory="empty", progress=False)
    pt.run(PBT, quadratic, stop=pt.steps(5), directory="finished", progress=False)
    (tmp_path / "file.py").write_text(EXPERIMENT)
    return tmp_path


@pytest.mark.parametrize("words", ["schedule", "lineage", "report", "plot", "replay", "export --best out"])
def test_what_needs_a_healthy_result_says_why_there_is_none(states, capsys, words):
    verb, *options = words.split()
    for run, says in (("failed", "no healthy result: 3 tasks failed. The first error: "), ("empty", "no task has ended")):
        assert main([verb, run, *options]) == 2
        assert says in capsys.readouterr().err, run


def test_a_comparison_counts_the_runs_that_it_leaves_out(states):
    with pytest.raises(pt.UsageError, match="got 1 run with .*; left out: 2 runs without a healthy result"):
        pt.views.compare([pt.open_run(name).record for name in ("finished", "failed", "empty")])


def test_a_directory_that_holds_a_run_is_answered_with_what_continues_it(states, capsys):
    assert main(["run", "file.py", "--dir", "finished"]) == 2
    assert "resume finished --steps N`" in capsys.readouterr().err
    assert main(["run", "file.py", "--dir", "empty"]) == 2
    assert "resume empty`" in capsys.readouterr().err
    with pt.log.writer.Log.open(states / "finished"):
        assert main(["run", "file.py", "--dir", "finished"]) == 2
    said = capsys.readouterr().err
    assert f"process {os.getpid()} on {platform.node()} trains now" in said and "status finished`" in said
