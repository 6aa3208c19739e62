"""What trials of Ray Tune report is checked: values in force, steps that go on, scores that are numbers. No Ray is started."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("ray")
pytestmark = pytest.mark.heavy

import ray_toys as toys  # noqa: E402
from ray import tune  # noqa: E402

import poptrain as pt  # noqa: E402
from poptrain.integrations.ray_tune import checks, configs, reports  # noqa: E402
from poptrain.integrations.ray_tune.ending import remarks  # noqa: E402
from poptrain.integrations.ray_tune.journal import Journal  # noqa: E402
from poptrain.integrations.ray_tune.trial_seat import Phase, TrialSeat, numbers  # noqa: E402
from poptrain.integrations.ray_tune.whole_files import copy_whole  # noqa: E402


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.array(0.5)])
def test_a_score_may_be_any_number(value):
    assert reports.score_of("s", "score", value) == 0.5 and np.isnan(reports.score_of("s", "score", None))


@pytest.mark.parametrize("value", ["good", [0.5], np.array([0.5]), {"mean": 1.0}, 1j])
def test_a_score_that_is_not_a_number_is_a_sentence(value):
    with pytest.raises(pt.UsageError, match=r"^s: a trial reports score=.*; the metric must be a number\.$"):
        reports.score_of("s", "score", value)


@pytest.mark.parametrize("value", ["a", None, float("nan"), float("inf"), [1]])
def test_a_step_that_is_not_a_number_is_a_sentence(value):
    with pytest.raises(pt.UsageError, match="a trial reports epoch=.*must be the key of a number that grows"):
        reports.step_of("s", "epoch", value, 1)


def test_numpy_numbers_of_a_report_reach_the_log():
    report = {"epoch": np.int64(3), "loss": np.float32(0.5), "eval": {"x": 1}, "name": "a", "done": False, "config": {"lr": 0.1}}
    assert numbers(report) == {"epoch": 3.0, "loss": 0.5, "eval/x": 1.0}


@pytest.mark.parametrize(("value", "found"), [(None, ()), ([], ()), ([1, 2.5], (1.0, 2.5)), (np.array([1.0]), (1.0,))])
def test_returns_are_a_list_of_numbers(value, found):
    assert reports.returns_of("s", "returns", value) == found


@pytest.mark.parametrize("value", [1.0, "abc", ["a"], {"a": 1}])
def test_returns_that_are_not_a_list_of_numbers_are_a_sentence(value):
    with pytest.raises(pt.UsageError, match="returns='returns' must be the key of a list of numbers"):
        reports.returns_of("s", "returns", value)


def task(parent=None, **hparams):
    return pt.Task(1, 0, hparams, parent, 3, 0)


def test_a_clone_that_counts_from_the_beginning_again_is_named():
    reports.check_goes_on("s", "t", "epoch", task(parent=0), 12, 12)
    reports.check_goes_on("s", "t", "epoch", task(), 0, 0)
    with pytest.raises(pt.UsageError, match="t started from a checkpoint at epoch=12 and reports epoch=1. Save it in the checkp"):
        reports.check_goes_on("s", "t", "epoch", task(parent=0), 12, 1)


HP = {"lr": 0.2, "net.width": 8}


@pytest.mark.parametrize("report", [
    pytest.param({"config/lr": 0.1}, id="config"),
    pytest.param({"config/net/width": 16}, id="nested config"),
    pytest.param({"lr": 0.1}, id="reported"),
    pytest.param({"lr": np.float32(0.4)}, id="of the actor before"),
])  # fmt: skip
def test_a_value_that_is_not_in_force_is_named(report):
    with pytest.raises(pt.UsageError, match=r"trial t was given (lr=0.2|net.width=8), and"):
        reports.check_in_force("s", "t", report, HP, [{"lr": 0.1, "net.width": 8}, {"lr": 0.4}])


IN_FORCE = [{}, {"config/lr": 0.2, "config/net/width": 8}, {"config/lr": np.float32(0.2)}, {"lr": 0.19}, {"config/lr": [1]}]


@pytest.mark.parametrize("report", IN_FORCE)
def test_a_value_in_force_and_a_schedule_of_the_user_are_left_alone(report):
    reports.check_in_force("s", "t", report, HP, [{"lr": 0.1}])


SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1.0), opt={"lr": pt.LogUniform(1e-4, 1.0)})


@pytest.mark.parametrize(("config", "says"), [
    ({"opt.lr": 0.1}, r"param_space\['opt.lr'\] is not where the space has it: write {'opt': {'lr': …}}"),
    ({"opt": "adam"}, r"param_space\['opt'\]='adam', and the space has 'opt.lr' inside it: pass a dict there"),
    ({"net": {"width": pt.Choice(1, 2)}}, r"param_space\['net.width'\] is a Choice, which Ray Tune does not sample"),
])  # fmt: skip
def test_a_config_without_a_place_for_a_hyperparameter_is_refused(config, says):
    with pytest.raises(pt.UsageError, match=says):
        checks.with_initial(pt.pbt(SPACE, 2, interval=1), [config, config])


@pytest.mark.parametrize(
    ("config", "warns"), [({"opt": {"lr": 0.1}}, True), ({"opt": {"lr": 0.1}, "lr": 0.1}, False), ({}, False)]
)
def test_a_hyperparameter_that_the_config_has_elsewhere_is_a_warning(config, warns, caplog):
    checks.with_initial(pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1.0)), 2, interval=1), [config, config])
    assert (
        "param_space has 'opt.lr', which stays 0.1: if you mean to tune it, write pt.Space(opt={'lr': …})" in caplog.text
    ) is warns


@pytest.mark.parametrize(("stop", "resolution", "steps"), [
    (None, 1, None), ({"loss": 1}, 1, None), ({"s": 4.5}, 1, 5), ({"s": 0.25}, 1000, 250), ({"s": np.int64(3)}, 1, 3),
    ({"s": float("inf")}, 1, None), (lambda trial, result: False, 1, None),
])  # fmt: skip
def test_the_budget_is_the_limit_of_time_attr_rounded_up(stop, resolution, steps):
    assert checks.budget("s", stop, "s", resolution) == steps
    with pytest.raises(pt.UsageError, match=r"stop={'s': '9'}, expected a number"):
        checks.budget("s", {"s": "9"}, "s", resolution)


def test_none_is_a_first_value_where_it_is_an_option():
    space = pt.Space(lr=pt.LogUniform(1e-4, 1.0), norm=pt.Choice(None, "l2"))
    assert configs.given({"lr": None, "norm": None}, space) == {"norm": None}


def test_a_class_that_cannot_save_is_refused_before_it_trains():
    class Saves(tune.Trainable):
        def save_checkpoint(self, directory): ...

    for missing, trainable in (("save_checkpoint", tune.Trainable), ("load_checkpoint", Saves)):
        with pytest.raises(pt.UsageError, match=f"has no {missing}. Trials start from the checkpoints of others: write it"):
            checks.saves("s", trainable)
    checks.saves("s", toys.Ascent)
    checks.saves("s", toys.ascend)


def test_a_trial_that_ends_without_a_report_of_its_own_has_no_result():
    """Ray shows the trial's last report again, which may be of another task."""
    seat = TrialSeat(0, None, {})
    seat.begin(task(), 0)
    old = {"training_iteration": 3, "time_total_s": 1.5, "timestamp": 7, "score": 1.0}
    seat.report(3, 1.0, old)
    assert seat.done("checkpoint").kind == "ok"
    seat.begin(task(parent=0), 9)
    assert seat.knows({**old, "done": True}) and not seat.knows({**old, "training_iteration": 4})
    assert seat.done(None).kind == "ended" and seat.phase is Phase.WAITING


@pytest.mark.parametrize(("results", "says"), [
    ([pt.Result(0, float("nan"), 3)], "all reported scores are NaN or infinite"),
    ([pt.Result(0, float("nan"), 0, error="planted", kind="failed")], "1 of 1 failed, the first with 'planted'"),
    ([pt.Result(0, 1.0, 3)], "no trial was copied, because none reported a checkpoint"),
    ([pt.Result(0, float("nan"), 0, error="ended", kind="ended")], "no trial has reported anything"),
])  # fmt: skip
def test_an_experiment_without_a_result_that_can_be_copied_says_why(results, says):
    history = pt.History().add((pt.Task(0, 0, {}, None, 3, 0),)).add(tuple(results))
    (text,) = remarks(history, ["a"], interval=3, budget=6, unit="epoch")
    assert says in text


def test_files_of_lines_are_copied_although_they_are_not_json(tmp_path):
    source, target = tmp_path / "staging", tmp_path / "experiment"
    (source / "trial").mkdir(parents=True)
    lines = "".join(json.dumps({"score": score}) + "\n" for score in range(3))
    (source / "trial" / "result.json").write_text(lines)
    copy_whole(str(source), str(target))
    assert (target / "trial" / "result.json").read_text() == lines


def test_a_run_that_has_ended_is_known_when_it_is_restored(tmp_path):
    pt.run(pt.pbt(toys.SPACE, 2, interval=1), toys.train, stop=pt.steps(1), directory=tmp_path)
    journal = Journal.go_on(tmp_path, ["a", "b"], {"budget": 2}, ())
    assert journal.over
    journal.log.close()
    assert not Journal.go_on(tmp_path, ["a", "b"], {"budget": 2}, ()).over  # it was opened again
