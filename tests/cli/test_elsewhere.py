"""A run is continued where it was started: files with relative paths are those that it began with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from poptrain.cli import main
from poptrain.core import commands, results_of
from poptrain.engine import started
from poptrain.log.reader import read

FILE = """
import json
from pathlib import Path

import poptrain as pt

gain = json.loads(Path("settings.json").read_text())["gain"]


def train(carry, hparams, steps, seed):
    again = json.loads(Path("settings.json").read_text())["gain"]
    return (carry or 0) + steps, {"score": gain + again + hparams["lr"]}


experiment = pt.Experiment(pt.pbt(pt.Space(lr=pt.Uniform(0, 1)), population=3, interval=2), train, stop=pt.steps(6))
"""


@pytest.fixture
def project(folder, monkeypatch):
    """A run that was started in the folder `project`; the current folder is above it, and has other settings."""
    (folder / "project").mkdir()
    Path("settings.json").write_text(json.dumps({"gain": 100}))
    Path("project/settings.json").write_text(json.dumps({"gain": 1}))
    Path("project/experiment.py").write_text(FILE)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    with monkeypatch.context() as there:
        there.chdir(folder / "project")
        assert main(["run", "experiment.py", "--dir", "runs/a", "-q"]) == 0
    return folder / "project"


def scores(directory):
    return [result.score for line in read(Path(directory)).lines for result in results_of(line)]


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_a_run_that_is_resumed_from_elsewhere_trains_where_it_was_started(project, executor, capsys):
    assert main(["resume", "project/runs/a", "--steps", "12", "--executor", executor, "-q"]) == 0
    said = capsys.readouterr()
    assert f"executing {project / 'experiment.py'} in {project}, where the run was started\n" in said.err
    assert "the run is in project/runs/a" in said.out and Path.cwd() == project.parent
    assert len(scores("project/runs/a")) == 18 and max(scores("project/runs/a")) < 4
    assert [path.name for path in project.parent.iterdir()].count("runs") == 0


def test_verify_and_replay_from_elsewhere_read_what_the_run_read(project, capsys):
    assert main(["verify", "project/runs/a"]) == 0 and "decisions" in capsys.readouterr().out.splitlines()[-1]
    assert main(["replay", "project/runs/a", "--dir", "again", "-q"]) == 0
    assert max(scores("again")) < 4
    assert main(["replay", "project/runs/a", "--worth", "6", "--json"]) == 0


def test_a_file_that_the_user_names_is_executed_where_the_user_is(project):
    Path("project/runs/a").rename("a")
    assert main(["resume", "a", "--experiment", "project/experiment.py", "--steps", "12", "-q"]) == 0
    assert max(scores("a")) > 200
    assert main(["resume", "a", "--steps", "14", "-q"]) == 0  # and from now on it belongs here


def test_no_log_leads_a_file_of_the_user_into_another_directory(project):
    Path("bait").mkdir()
    Path("bait/settings.json").write_text(json.dumps({"gain": 100}))
    source = dict(read(project / "runs/a").file)
    assert source["folder"] == "../.." and started.refusal(project / "runs/a", source) is None
    crafted = {**source, "folder": "../../../bait"}
    assert "you have not started" in started.refusal(project / "runs/a", crafted)


def test_printed_commands_are_for_the_shell_which_stays_where_it_is(folder, monkeypatch):
    Path("there").mkdir()
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.executable", str(folder / "environment/bin/python"))
    assert commands.python() == "environment/bin/python"
    with commands.working_in(folder / "there"):
        assert commands.python() == str(folder / "environment/bin/python")
    assert commands.python() == "environment/bin/python"
