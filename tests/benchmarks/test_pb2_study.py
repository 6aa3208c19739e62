"""Studies: one file a run, continued where they stopped, tables from the files alone."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace

import numpy as np
import pytest

import poptrain as pt
from benchmarks import bipedal_study
from benchmarks import study as studies
from benchmarks.study import Cell, Study

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), kind=pt.Choice("a", "b"))


def train(carry, hp, steps, seed):
    carry = 1.0 if carry is None else carry
    for _ in range(steps):
        carry *= 1 - hp["lr"]
    return carry, {"score": -carry}


class Counted:
    def __init__(self, dies_at=None):
        self.started, self.dies_at = [], dies_at

    def __call__(self, cell, seed, directory):
        self.started.append((cell.name, seed))
        stop = pt.steps(10) if self.dies_at == (cell.name, seed) else pt.steps(20)
        run = pt.run(cell.algorithm, train, stop=stop, directory=directory, seed=seed)
        if self.dies_at == (cell.name, seed):
            raise KeyboardInterrupt
        return run


def make(start):
    cells = [Cell("pb2", pt.pb2_mix(SPACE, interval=5), 2), Cell("pbt", pt.pbt(SPACE, population=4, interval=5), 3)]
    judge = lambda run, seed: {"reported": run.best.score}
    return Study("toy", cells, start, judge, lambda found: [{"cells": {name: len(runs) for name, runs in found.items()}}])


def test_a_study_makes_every_run_once_and_keeps_what_is_needed(tmp_path):
    start = Counted()
    make(start).work(tmp_path / "results", tmp_path / "scratch")
    assert start.started == [("pb2", 0), ("pbt", 0), ("pb2", 1), ("pbt", 1), ("pbt", 2)], "seed by seed"
    make(start).work(tmp_path / "results", tmp_path / "scratch")
    assert len(start.started) == 5
    found = make(start).found(tmp_path / "results")
    kept = found["pb2"][0]
    assert kept["curve"][-1][0] == 20 and kept["schedule"] and kept["predictions"] and kept["failed"] == 0
    assert [a[1] <= b[1] for a, b in zip(kept["curve"], kept["curve"][1:], strict=False)]
    assert not list((tmp_path / "scratch").iterdir()), "run directories are removed"
    assert all(len(path.read_text()) < 10_000 for path in (tmp_path / "results").glob("*.json"))


def test_a_killed_study_resumes_the_run_it_was_in(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make(Counted(dies_at=("pb2", 1))).work(tmp_path / "results", tmp_path / "scratch")
    assert (tmp_path / "scratch" / "pb2-1").exists() and not (tmp_path / "results" / "pb2-1.json").exists()
    start = Counted()
    make(start).work(tmp_path / "results", tmp_path / "scratch")
    assert start.started == [("pb2", 1), ("pbt", 1), ("pbt", 2)]
    kept = json.loads((tmp_path / "results" / "pb2-1.json").read_text())
    assert kept["curve"][0][0] == 0 and kept["curve"][-1][0] == 20


@pytest.mark.heavy
def test_a_compact_study_keeps_one_line_a_run_and_makes_a_torn_one_again(tmp_path):
    start = Counted()
    compact = replace(make(start), compact=True, summary=lambda run: {"tasks": run.history.n})
    compact.work(tmp_path / "results", tmp_path / "scratch")
    path = tmp_path / "results.jsonl"
    whole = compact.found(tmp_path / "results")
    assert {name: [kept["seed"] for kept in runs] for name, runs in whole.items()} == {"pb2": [0, 1], "pbt": [0, 1, 2]}
    assert whole["pbt"][0]["tasks"] == 16 and len(path.read_text().splitlines()) == 1 + 5, "one line about the machine"
    path.write_text(path.read_text()[:-9])
    compact.work(tmp_path / "results", tmp_path / "scratch")
    assert start.started[5:] == [("pbt", 2)]
    again = compact.found(tmp_path / "results")
    assert [kept["reported"] for kept in again["pbt"]] == [kept["reported"] for kept in whole["pbt"]]


def test_time_is_limited_and_a_report_runs_nothing(tmp_path, capsys):
    start = Counted()
    make(start).work(tmp_path / "results", tmp_path / "scratch", hours=0.0)
    assert not start.started
    options = Namespace(report=True, hours=None, plot=False)
    assert studies.finish(make(start), tmp_path / "results", tmp_path / "scratch", options) == []
    make(start).work(tmp_path / "results", tmp_path / "scratch")
    figures = studies.finish(make(start), tmp_path / "results", tmp_path / "scratch", options)
    assert figures == [{"cells": {"pb2": 2, "pbt": 3}}] and len(start.started) == 5
    assert "| pbt | 3 |" in capsys.readouterr().out


@pytest.mark.heavy
def test_learning_curves_and_schedules_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    make(Counted()).work(tmp_path / "results", tmp_path / "scratch")
    studies.plot(make(Counted()).found(tmp_path / "results"), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_interquartile_mean_and_its_interval():
    assert studies.iqm([0, 1, 2, 100]) == 1.5 and studies.iqm([3.0]) == 3.0
    assert np.isclose(studies.iqm(range(10)), 4.5) and np.isclose(studies.iqm([0, 1, 2, 3, 100]), (0.75 + 2 + 3 * 0.75 + 0) / 2.5)
    low, high = studies.interval(list(range(10)))
    assert low < 4.5 < high and studies.interval([1.0, 1.0]) == (1.0, 1.0)
    assert studies.ahead([1], [0]) == 1.0 and studies.ahead(range(10, 20), range(10)) < 0.001


def test_a_claim_holds_if_chance_cannot_explain_it():
    of = lambda values: [{"reported": value} for value in values]
    found = {"a": of(range(10, 20)), "b": of(range(10)), "c": of(range(1, 11)), "d": of([99.0] * 4)}
    shown = studies.differences(found, [("a", "a", "b"), ("c", "c", "b"), ("b", "b", "a"), ("d", "d", "b")])
    assert [each["holds"] for each in shown] == [True, False, False, None]
    words = [each["name"].partition(";")[0] for each in shown[:3]]
    assert words == ["a: ahead", "c: not told apart", "b: behind"]


def test_random_search_with_eight_is_two_of_its_runs_with_four_by_what_selection_sees():
    def kept(seed, training, reported, curve):
        return {"cell": "random-4", "seed": seed, "training": training, "reported": reported, "curve": curve, "seconds": 1.0}

    four = [kept(0, 5.0, 1.0, [[10, 2.0], [20, 5.0]]), kept(1, 4.0, 9.0, [[10, 3.0], [20, 4.0]]), kept(2, 7.0, 7.0, [[10, 7.0]])]
    (eight,) = bipedal_study.pairs({"random-4": four})["random-8"]
    assert (eight["seed"], eight["reported"], eight["curve"]) == (0, 1.0, [[10, 3.0], [20, 5.0]])
