"""Every algorithm as a Ray Tune scheduler, on a real Ray: the same decisions as `poptrain.run`, and what Ray's own get wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.heavy

import ray_toys as toys  # noqa: E402
from ray import tune  # noqa: E402

import poptrain as pt  # noqa: E402
from poptrain.audit.verify import verify  # noqa: E402
from poptrain.integrations.ray_tune import PopulationBasedTraining, poptrain_scheduler, tune_trainable, tuner  # noqa: E402
from poptrain.views import status  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": path()}})
    yield
    ray.shutdown()


def path():
    return ":".join([str(Path(__file__).parents[1]), *sys.path])


def fit(trainable, scheduler, tmp_path, *, trials=4, stop=15, reuse=True, config=None, cpus=1, **run):
    """Returns Ray's result grid; `stop` counts iterations."""
    stop = stop if isinstance(stop, dict) else {"training_iteration": stop}
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": cpus}),
        param_space=config or {},
        tune_config=tune.TuneConfig(metric="score", mode="max", num_samples=trials, scheduler=scheduler, reuse_actors=reuse),
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="experiment", stop=stop, verbose=0, **run),
    )
    return tuner.fit()


def decisions(history):
    """What was decided and found, without what depends on the executor."""
    table = history.table()
    return {key: table[key] for key in ("member", "parent", "steps", "step", "lr", "score")}


@pytest.mark.parametrize("make", [
    pytest.param(lambda: pt.pbt(toys.SPACE, 4, interval=5), id="pbt"),
    pytest.param(lambda: pt.pb2(toys.SPACE, 4, interval=3, evaluate_first=False), id="pb2"),
    pytest.param(lambda: pt.fire_pbt(toys.SPACE, (2, 2), 2, interval=5, exploit=pt.truncation(0.5)), id="fire_pbt"),
])  # fmt: skip
def test_a_synchronous_population_decides_as_poptrain_run_does(make, tmp_path):
    algorithm = make()
    scheduler = poptrain_scheduler(algorithm)
    cpus = 0.5 if algorithm.seats > 4 else 1
    results = fit(toys.Ascent, scheduler, tmp_path, trials=algorithm.seats, cpus=cpus)
    own = pt.run(algorithm, toys.train, stop=pt.steps(15))
    ours, theirs = decisions(scheduler.history), decisions(own.history)
    for key in ("member", "parent", "steps", "step", "lr"):
        assert ours[key] == theirs[key], key
    np.testing.assert_allclose(ours["score"], theirs["score"], rtol=1e-12)
    assert not results.errors
    stored = pt.open_run(scheduler.directory)
    assert stored.record.finished and decisions(stored.history) == ours
    assert verify(scheduler.directory).ok and status(stored.record).state == "finished"


def test_more_members_than_slots_take_turns_and_decide_the_same(tmp_path):
    algorithm = pt.pbt(toys.SPACE, 4, interval=5)
    scheduler = poptrain_scheduler(algorithm)
    fit(toys.Ascent, scheduler, tmp_path, cpus=2)
    assert decisions(scheduler.history)["lr"] == decisions(pt.run(algorithm, toys.train, stop=pt.steps(15)).history)["lr"]


def test_functions_are_cloned_from_the_checkpoints_that_they_report(tmp_path):
    scheduler = poptrain_scheduler(pt.pbt(toys.SPACE, 3, interval=4), time_attr="epoch")
    results = fit(toys.ascend, scheduler, tmp_path, trials=3, stop={"epoch": 16})
    history = scheduler.history
    parents = [(history.task(id).parent, history.task(id).member) for id in range(3, history.n)]
    assert not results.errors and any(history.task(parent).member != member for parent, member in parents)
    assert set(history.table()["step"]) == {6, 12, 16}  # a decision waits for the report with the checkpoint
    for id in range(history.n):
        assert history.result(id).metrics["used"] == history.task(id).hparams["lr"]


def test_a_trial_that_always_fails_does_not_stop_a_synchronous_population(tmp_path):
    scheduler = poptrain_scheduler(pt.pbt(toys.SPACE, 3, interval=5), revive=1)
    broken = tune.grid_search([True, False, False])
    results = fit(toys.Failing, scheduler, tmp_path, trials=1, config={"broken": broken}, failure_config=tune.FailureConfig(0))
    history = scheduler.history
    done = {history.task(id).member for id in range(history.n) if history.ok(id) and history.step(id) == 15}
    assert done >= {1, 2} and results.num_errors <= 1
    errors = [history.result(id).error for id in range(history.n) if history.task(id).member == 0]
    assert any(error and "planted" in error for error in errors)


def test_a_broken_trial_comes_back_as_the_clone_of_a_healthy_one(tmp_path):
    scheduler = poptrain_scheduler(pt.pbt(toys.SPACE, 3, interval=5))
    broken = tune.grid_search([True, False, False])
    results = fit(toys.Failing, scheduler, tmp_path, trials=1, config={"broken": broken})
    assert not results.errors and {result.metrics["training_iteration"] for result in results} == {15}
    history = scheduler.history
    clone = history.task(3)
    assert history.result(0).error and clone.member == 0 and history.task(clone.parent).member in (1, 2)


def test_a_trial_that_scores_nan_is_replaced_and_nobody_leaves_the_bounds(tmp_path):
    space = pt.Space(lr=pt.LogUniform(1e-3, 0.02))
    start = tune.grid_search([0.005, 0.009, 0.015])
    scheduler = poptrain_scheduler(pt.pbt(space, 3, interval=3))
    fit(toys.Diverging, scheduler, tmp_path, trials=1, config={"lr": start})
    history = scheduler.history
    assert history.task(2).hparams["lr"] == 0.015 and not history.ok(2)
    assert all(history.ok(history.task(id).parent) for id in range(3, history.n))
    assert all(1e-3 <= rate <= 0.02 for rate in history.table()["lr"])


def test_ray_recovers_a_trial_and_its_member_goes_on(tmp_path):
    (tmp_path / "marks").mkdir()
    algorithm = pt.pbt(toys.SPACE, 2, interval=5)
    scheduler = poptrain_scheduler(algorithm)
    fit(toys.Flaky, scheduler, tmp_path, trials=2, config={"marks": str(tmp_path / "marks")},
        failure_config=tune.FailureConfig(max_failures=2), checkpoint_config=tune.CheckpointConfig(num_to_keep=1))  # fmt: skip
    own = pt.run(algorithm, toys.train, stop=pt.steps(15))
    assert len(list((tmp_path / "marks").iterdir())) == 2  # both failed once
    assert decisions(scheduler.history)["lr"] == decisions(own.history)["lr"]
    assert [len(scheduler.history.result(id).curve) for id in range(scheduler.history.n)] == [5] * 6


def test_nested_configs_are_tuned_in_place_and_other_keys_are_untouched(tmp_path):
    space = pt.Space(optimizer={"lr": pt.LogUniform(1e-4, 1e-1)})
    config = {"env": {"name": "toy", "sizes": [1, 2]}, "optimizer": {"name": "sgd", "lr": tune.grid_search([1e-3, 1e-2, 5e-2])}}
    scheduler = poptrain_scheduler(pt.pbt(space, 3, interval=3))
    results = fit(toys.Nested, scheduler, tmp_path, trials=1, stop=9, config=config)
    assert not results.errors
    history = scheduler.history
    assert [history.task(id).hparams["optimizer.lr"] for id in range(3)] == [1e-3, 1e-2, 5e-2]
    assert all(history.result(id).metrics["used"] == history.task(id).hparams["optimizer.lr"] for id in range(history.n))


@pytest.mark.parametrize("trials, config, message", [
    pytest.param(4, {}, r"has 6 seats and Ray Tune made 4 trials; set tune.TuneConfig\(num_samples=6\)", id="evaluators"),
    pytest.param(6, {"lr": 0.5}, r"lr=0.5 is outside", id="outside"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_when_the_experiment_starts(trials, config, message, tmp_path):
    scheduler = poptrain_scheduler(pt.fire_pbt(toys.SPACE, (2, 2), 2, interval=5, exploit=pt.truncation(0.5)))
    with pytest.raises(Exception, match=message):
        fit(toys.Ascent, scheduler, tmp_path, trials=trials, config=config)


def test_a_function_that_reports_no_checkpoint_is_told_so(tmp_path):
    with pytest.raises(Exception, match="reported no checkpoint"):
        fit(toys.silent, poptrain_scheduler(pt.pbt(toys.SPACE, 1, interval=2)), tmp_path, trials=1)


def test_a_trial_that_ended_is_not_a_failure_and_one_that_failed_is():
    from poptrain.integrations.ray_tune.trial_seat import TrialSeat

    seat = TrialSeat(0, None, {})
    kinds = []
    for leave in (seat.leave, lambda: seat.leave("its trial failed 4 times in a row", "failed")):
        leave()
        seat.begin(pt.Task(0, 0, {}, None, 5, 0), 0)
        kinds.append(seat.without_result(seat.why, seat.why_kind).kind)
    seat.begin(pt.Task(0, 0, {}, None, 5, 0), 0)
    assert [*kinds, seat.without_result("planted").kind] == ["ended", "failed", "failed"]


def warned(caplog):
    return [each.getMessage() for each in caplog.records if each.name.endswith("ray_tune.scheduler")]


def test_an_interval_that_no_trial_reaches_is_said_at_the_end(tmp_path, caplog):
    """Ray's drop-in counts seconds by default, and trials that train for 0.1 s never reach 300 of them."""
    scheduler = PopulationBasedTraining(perturbation_interval=300, hyperparam_mutations={"lr": tune.loguniform(1e-4, 1e-1)})
    fit(toys.Ascent, scheduler, tmp_path, trials=2, stop=3)
    (text,) = warned(caplog)
    assert re.search(r"no decision was made: the interval is 300 s, and the trials trained \S+ s at most.*time_attr=", text)


def test_an_asynchronous_population_reaches_the_budget_or_names_the_trials_that_do_not(tmp_path, caplog):
    scheduler = poptrain_scheduler(pt.pb2(toys.SPACE, 4, interval=3, sync=False))
    results = fit(toys.Ascent, scheduler, tmp_path, cpus=2, stop=12)
    ends = {result.metrics["trial_id"]: result.metrics["training_iteration"] for result in results}
    early = {id for id, end in ends.items() if end < 12}
    assert max(ends.values()) == 12 and not results.errors
    assert {id for id in ends if any(id in text for text in warned(caplog))} == early


def history_of(*facts):
    history = pt.History()
    for fact in facts:
        history = history.add((fact,))
    return history


def test_trials_that_end_before_the_budget_are_named_with_the_reason():
    from poptrain.integrations.ray_tune.ending import remarks

    def chain(task, result):
        return (pt.Task(task, task % 2, {}, task - 2 if task > 1 else None, 3, task), result)

    first = [pt.Result(0, 1.0, 3, checkpoint="a"), pt.Result(1, 1.0, 3, checkpoint="b")]
    second = [pt.Result(2, 1.0, 6, checkpoint="c"), pt.Result(3, float("nan"), 3, error="planted", kind="failed")]
    facts = [fact for id, result in enumerate([*first, *second]) for fact in chain(id, result)]
    say = {"interval": 3, "budget": 6, "unit": "epoch"}
    assert remarks(history_of(*facts[:2]), ["a", "b"], **{**say, "budget": None})[0].startswith(
        "no decision was made: the interval is 3 epoch"
    )
    (text,) = remarks(history_of(*facts), ["a", "b"], **say)
    assert text.startswith("1 of 2 trials ended before the budget of 6 epoch: b at 3 epoch. Trials that failed")
    (text,) = remarks(history_of(*facts[:6]), ["a", "b"], **say)
    assert "b at 3 epoch. Either a stop condition ended them" in text
    assert not remarks(history_of(*facts[:6]), ["a", "b"], **{**say, "budget": 3})


def test_a_state_that_ray_is_just_writing_does_not_replace_a_whole_one(tmp_path):
    """And an experiment that Ray began anew, because its state is cut off, is refused with the file's name."""
    from poptrain.integrations.ray_tune import checks
    from poptrain.integrations.ray_tune.whole_files import copy_whole

    source, target = tmp_path / "staging", tmp_path / "experiment"
    (source / "inner").mkdir(parents=True)
    state, other = source / "experiment_state-1.json", source / "inner" / "searcher.pkl"
    state.write_text('{"trials": 4}')
    other.write_bytes(b"1")
    copy_whole(str(source), str(target))
    state.write_text('{"trials": ')
    other.write_bytes(b"2")
    copy_whole(str(source), str(target))
    assert (target / state.name).read_text() == '{"trials": 4}' and (target / "inner" / other.name).read_bytes() == b"2"
    assert not list(target.rglob("*.part"))
    pt.run(pt.pbt(toys.SPACE, 2, interval=1), toys.train, stop=pt.steps(1), directory=target / "poptrain")
    checks.not_restarted("scheduler", target / "poptrain", 1)
    (target / "experiment_state-2.json").write_text("")
    with pytest.raises(pt.UsageError, match="cannot read its own state, experiment_state-2.json.*Remove this file"):
        checks.not_restarted("scheduler", target / "poptrain", 1)


RESTORE = """
import sys
import ray, ray_toys as toys
from ray import tune
import poptrain as pt
from poptrain.integrations.ray_tune import poptrain_scheduler
ray.init("local", num_cpus=3, include_dashboard=False, log_to_driver=False)
storage = sys.argv[1]
if sys.argv[2] == "begin":
    tune.Tuner(
        toys.Ascent, param_space={"other": tune.grid_search([1, 2, 3])},
        tune_config=tune.TuneConfig(metric="loss", mode="min", reuse_actors=True,
                                    scheduler=poptrain_scheduler(pt.pbt(toys.SPACE, 3, interval=5))),
        run_config=tune.RunConfig(storage_path=storage, name="experiment", stop={"training_iteration": 20}, verbose=0,
                                  callbacks=[toys.Kill()]),
    ).fit()
else:
    grid = tune.Tuner.restore(storage + "/experiment", toys.Ascent).fit()
    assert not grid.errors, grid.errors
"""


@pytest.mark.parametrize("period", ["0", "1000"], ids=["fresh", "stale"])
def test_a_killed_experiment_is_restored_with_the_scheduler_where_it_was(period, tmp_path):
    """Also from a state of Ray's that was written when the experiment began: the run log knows better."""
    script = tmp_path / "driver.py"
    script.write_text(RESTORE)

    def drive(kill):
        environment = {**os.environ, "PYTHONPATH": path(), "TUNE_GLOBAL_CHECKPOINT_S": period, "KILL_AT": str(kill)}
        verb = "go on" if kill > 20 else "begin"
        return subprocess.run([sys.executable, str(script), str(tmp_path), verb], env=environment, capture_output=True,
                              text=True, timeout=200)  # fmt: skip

    assert drive(13).returncode == 9  # in the third round
    before = pt.open_run(tmp_path / "experiment" / "poptrain").history
    assert before.n > 0 and len(before.open())
    done = drive(999)
    assert done.returncode == 0, done.stderr[-3000:]
    run = pt.open_run(tmp_path / "experiment" / "poptrain")
    own = pt.run(pt.pbt(toys.SPACE, 3, interval=5), lambda *a: _lossy(*a), metric="loss", mode="min", stop=pt.steps(20))
    assert run.record.finished and run.record.epoch == 2
    for key in ("member", "parent", "lr", "step"):
        assert decisions(run.history)[key] == decisions(own.history)[key]


def _lossy(carry, hp, steps, seed):
    x, metrics = toys.train(carry, hp, steps, seed)
    return x, {"loss": 1 - metrics["score"]}


def test_one_class_serves_poptrain_and_ray_tune(tmp_path):
    algorithm = pt.pbt(toys.SPACE, 2, interval=3, exploit=pt.truncation(0.5))
    scheduler = poptrain_scheduler(algorithm)
    fit(tune_trainable(toys.Climber), scheduler, tmp_path, trials=2, stop=9)
    own = pt.run(algorithm, toys.Climber, stop=pt.steps(9))
    assert decisions(scheduler.history) == decisions(own.history)


def test_one_call_is_the_whole_experiment(tmp_path):
    algorithm = pt.fire_pbt(toys.SPACE, (2, 2), 2, interval=5, exploit=pt.truncation(0.5))
    config = tune.RunConfig(storage_path=str(tmp_path), name="one", verbose=0)
    results = tuner(toys.Climber, algorithm, stop=10, resources={"cpu": 0.5}, run_config=config, seed=3).fit()
    assert len(results) == algorithm.seats == 6 and not results.errors
    own = pt.run(algorithm, toys.Climber, stop=pt.steps(10), seed=3)
    run = pt.open_run(Path(results.experiment_path) / "poptrain")
    assert decisions(run.history) == decisions(own.history) and run.record.finished


@pytest.mark.parametrize(("arguments", "says"), [
    ({"stop": 0}, "stop=0, expected a budget such as 100, or {'training_iteration': 100}"),
    ({"stop": 5, "run_config": tune.RunConfig(stop={"training_iteration": 9})}, "pass it to tuner as stop=… instead"),
    ({"stop": 5, "time_attr": "steps", "seed": -1}, "seed=-1"),
])  # fmt: skip
def test_what_one_call_cannot_take_is_said_in_a_sentence(arguments, says):
    with pytest.raises(pt.UsageError, match=re.escape(says)):
        tuner(toys.Climber, pt.pbt(toys.SPACE, 4, interval=5), **arguments)


def test_a_search_algorithm_and_a_limit_of_trials_are_refused_when_the_experiment_starts(tmp_path):
    def refused(**config):
        tune_config = tune.TuneConfig(metric="score", mode="max", num_samples=3, scheduler=scheduler(), **config)
        run_config = tune.RunConfig(storage_path=str(tmp_path), name="refused", verbose=0)
        with pytest.raises(Exception, match=r"remove search_alg=RandomSearcher|Remove it: members"):
            tune.Tuner(toys.Ascent, tune_config=tune_config, run_config=run_config).fit()

    class RandomSearcher(tune.search.Searcher):
        def suggest(self, trial_id):
            return {"lr": 0.01}

        def on_trial_complete(self, trial_id, result=None, error=False):
            pass

    scheduler = lambda: poptrain_scheduler(pt.pbt(toys.SPACE, 3, interval=3))  # noqa: E731
    refused(max_concurrent_trials=2)
    refused(search_alg=RandomSearcher())
