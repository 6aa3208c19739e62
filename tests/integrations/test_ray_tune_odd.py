"""Odd but reasonable experiments on a real Ray: nothing lies, nothing hangs, and every experiment is closed with a sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.heavy

import ray_toys as toys  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import ResourceChangingScheduler  # noqa: E402

import poptrain as pt  # noqa: E402
from poptrain.integrations.ray_tune import poptrain_scheduler  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def cluster():
    python_path = ":".join([str(Path(__file__).parents[1]), *sys.path])
    environment = {"env_vars": {"PYTHONPATH": python_path}}
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield
    ray.shutdown()


def fit(trainable, scheduler, tmp_path, *, stop, config=None, reuse=True):
    stop = {"training_iteration": stop} if isinstance(stop, int) else stop
    return tune.Tuner(
        trainable,
        param_space=config or {},
        tune_config=tune.TuneConfig(metric="score", mode="max", num_samples=2, scheduler=scheduler, reuse_actors=reuse),
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="experiment", stop=stop, verbose=0),
    ).fit()


def population(**options):
    return poptrain_scheduler(pt.pbt(toys.SPACE, 2, interval=3, exploit=pt.truncation(0.5)), **options)


def warned(caplog):
    return " ".join(each.getMessage() for each in caplog.records if each.name.endswith("ray_tune.scheduler"))


class Quiet(toys.Ascent):
    """Has no score at first."""

    def step(self):
        found = super().step()
        return found if self.iteration >= self.config["quiet"] else {"loss": found["loss"], "scores": 1.0}


def test_reports_without_the_metric_are_ignored_or_refused_as_require_attrs_has_it(tmp_path):
    scheduler = population(require_attrs=False)
    assert not fit(Quiet, scheduler, tmp_path / "ignored", stop=6, config={"quiet": 2}).errors
    assert [scheduler.history.result(id).step for id in range(scheduler.history.n)] == [3, 3, 6, 6]
    with pytest.raises(pt.UsageError, match=r"^poptrain_scheduler: a trial's report has no 'score'; report it, .*'scores'"):
        fit(Quiet, population(), tmp_path / "refused", stop=6, config={"quiet": 2})


class Stops(tune.Stopper):
    """Stops everything after some reports, without a call of the scheduler."""

    reports = 0

    def __call__(self, trial_id, result):
        self.reports += 1
        return False

    def stop_all(self):
        return self.reports >= 14


def test_an_experiment_that_ray_ends_as_a_whole_is_closed_with_what_was_trained(tmp_path):
    scheduler = population()
    results = fit(toys.Ascent, scheduler, tmp_path, stop=Stops())
    run = pt.open_run(scheduler.directory)
    assert run.record.finished and not run.history.pending()
    reached = {run.history.result(id).step for id in range(run.history.n)}
    assert max(reached) == max(result.metrics["training_iteration"] for result in results)
    for directory in Path(results.experiment_path).glob("Ascent_*"):  # all that Ray reports is there, with the values in force
        rows = [json.loads(line) for line in (directory / "result.json").read_text().splitlines()]
        assert all(row["used"] == row["config"]["lr"] for row in rows) and len(rows) >= 6


class Boom(toys.Ascent):
    """Every trial fails at the same step."""

    def step(self):
        if self.iteration == 4:
            raise RuntimeError("planted")
        return super().step()


def test_trials_that_all_fail_are_named_at_the_end(tmp_path, caplog):
    scheduler = population()
    results = fit(Boom, scheduler, tmp_path, stop=9)
    run = pt.open_run(scheduler.directory)
    assert len(results.errors) == 2 and run.record.finished and not run.history.pending()
    assert "2 of 2 trials ended before the budget of 9 training_iteration" in warned(caplog)


def test_trials_whose_resources_change_go_on(tmp_path):
    scheduler = population()
    results = fit(toys.Ascent, ResourceChangingScheduler(scheduler), tmp_path, stop=9, reuse=False)
    assert not results.errors and {result.metrics["training_iteration"] for result in results} == {9}


class Restores(toys.Ascent):
    """Takes its old rate from the checkpoint."""

    def save_checkpoint(self, directory):
        Path(directory, "x").write_text(json.dumps([self.x, self.config["lr"]]))

    def load_checkpoint(self, directory):
        self.x, rate = json.loads(Path(directory, "x").read_text())
        self.config = {**self.config, "lr": rate}


def forgetful(config):
    """Counts its epochs from 1 also in a clone."""
    for epoch in range(1, 30):
        Path(config["place"], "x").write_text("")
        tune.report({"score": config["lr"], "epoch": epoch}, checkpoint=tune.Checkpoint.from_directory(config["place"]))


def silent(config):
    """Ends without a report."""


def test_what_a_clone_does_not_have_in_force_ends_the_experiment(tmp_path):
    with pytest.raises(pt.UsageError, match="was given lr=.*, and its config now has .*after a checkpoint is loaded"):
        fit(Restores, population(), tmp_path / "restores", stop=9)
    place = tmp_path / "place"
    place.mkdir()
    with pytest.raises(pt.UsageError, match="started from a checkpoint at epoch=3 and reports epoch=1"):
        fit(
            forgetful, population(time_attr="epoch"), tmp_path / "b", stop={"epoch": 9}, config={"place": str(place)}, reuse=False
        )


def test_a_function_without_a_report_is_said_at_the_end(tmp_path, caplog):
    results = fit(silent, population(), tmp_path, stop=3, reuse=False)
    assert not results.errors and "no trial has reported anything before it ended" in warned(caplog)
