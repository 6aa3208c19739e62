"""Runs below a directory: one bad entry hides no other, in every tool that lists them."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

import poptrain as pt
from poptrain.cli import app
from poptrain.dashboard.fleet import Fleet
from poptrain.log.finding import runs_in
from poptrain.log.reader import read
from poptrain.testing import quadratic

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))


@pytest.fixture
def runs(tmp_path):
    for name in ("a", "b", "closed"):
        pt.run(pt.pbt(SPACE, population=2, interval=2), quadratic, stop=pt.steps(4), directory=tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("not a run")
    return tmp_path


@pytest.fixture
def refuse(monkeypatch):
    """Makes the system refuse to open a file, also for an administrator, whom permissions do not stop."""

    def refuse(file):
        opened = os.open

        def forbidding(path, *args, **named):
            if str(path) == str(file):
                raise PermissionError(13, "Permission denied", str(path))
            return opened(path, *args, **named)

        monkeypatch.setattr(os, "open", forbidding)

    return refuse


def names(found):
    return [path.name for path in found]


def test_a_run_stands_for_itself_and_a_directory_for_its_runs(runs):
    assert names(runs_in(runs)) == ["a", "b", "closed"]
    assert runs_in(runs / "a") == [runs / "a"]
    assert runs_in(runs, depth=0) == runs_in(runs / "empty") == runs_in(runs / "file") == runs_in(runs / "none") == []
    (runs / "deep").mkdir()
    (runs / "a").rename(runs / "deep" / "a")
    assert names(runs_in(runs)) == ["b", "closed"] and names(runs_in(runs, depth=2)) == ["b", "closed", "a"]


def test_links_to_directories_are_searched_unless_they_lead_outside(runs, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "linked").symlink_to(runs / "a")
    assert names(runs_in(outside)) == ["linked"] and runs_in(outside, links=False) == []


def test_a_log_that_may_not_be_read_is_listed_and_whoever_opens_it_says_why(runs, refuse):
    log = runs / "closed" / "log-000001.jsonl"
    refuse(log)
    assert names(runs_in(runs)) == ["a", "b", "closed"]
    with pytest.raises(pt.PoptrainError) as refused:
        read(runs / "closed")
    assert str(refused.value) == f"{log}: Permission denied. Check that you may read the run directory."


def test_a_link_or_a_pipe_in_place_of_a_log_is_listed_and_hides_nothing(runs):
    log = runs / "closed" / "log-000001.jsonl"
    log.rename(runs / "elsewhere")
    log.symlink_to(runs / "elsewhere")
    assert names(runs_in(runs)) == ["a", "b", "closed"]


def test_a_directory_that_may_not_be_listed_holds_no_run(runs, monkeypatch):
    listed = os.listdir

    def forbidding(path="."):
        if Path(path) == runs / "empty":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "listdir", forbidding)
    assert names(runs_in(runs, depth=3)) == ["a", "b", "closed"]


def test_the_command_line_compares_the_runs_that_it_may_read_and_names_the_other(runs, refuse):
    refuse(runs / "closed" / "log-000001.jsonl")

    def told(*words):
        found = CliRunner().invoke(app, [str(word) for word in words])
        return found.exit_code, found.output

    code, text = told("compare", runs)
    assert code == 0 and f"warning: left out {runs / 'closed'}: " in text
    code, text = told("compare", runs / "a", runs / "closed")
    assert code == 1 and "Permission denied" in text, "a run that was named must be readable"
    code, text = told("status", runs)
    assert code == 2 and "3 of its directories are" in text
    for verb in (pt.open_run, pt.verify):
        with pytest.raises(pt.UsageError, match="3 of its directories are: choose one of"):
            verb(runs)


def test_the_dashboard_shows_the_runs_that_it_may_read_and_why_not_the_other(runs, refuse):
    refuse(runs / "closed" / "log-000001.jsonl")
    fleet = Fleet([runs])
    fleet.look()
    a, b, closed = fleet.summaries()
    assert a["state"] == b["state"] == "finished"
    assert closed["state"] == "damaged" and "Permission denied" in closed["error"] and "resume" not in closed["error"]
