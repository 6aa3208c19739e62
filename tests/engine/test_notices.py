"""Failures are loud: the first one warns with its error, the end sums all up, and no filter of warnings stops a run."""

from __future__ import annotations

import re
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest

import poptrain as pt
from poptrain.core.causes import cause
from poptrain.core.errors import RunFailed, RunWarning, UsageError
from poptrain.report import tables
from poptrain.testing import Quadratic, quadratic

PBT = pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=4, interval=5)


def sometimes(carry, hp, steps, seed):
    if seed % 5 == 0:
        raise KeyError("betas")
    return quadratic(carry, hp, steps, seed)


def warned(*arguments, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = pt.run(*arguments, progress=False, **options)
    return run, [str(each.message) for each in caught if each.category is RunWarning], caught


def test_the_first_failure_warns_with_its_error_and_the_end_sums_up(tmp_path):
    run, texts, caught = warned(PBT, sometimes, stop=pt.steps(40), directory=tmp_path / "r")
    first, summary = texts
    assert "KeyError: 'betas' (test_notices.py:" in first and "The other members go on" in first
    (named,) = re.findall(r"The traceback is in (\S+\.txt)\.", first)
    assert "KeyError" in Path(named).read_text(), "the file can be opened as it is named"
    failed = pt.views.status(run.record).failed
    assert summary.startswith(f"{failed} of 32 tasks failed: {failed} × KeyError: 'betas'")
    assert caught[0].filename == __file__, "a warning names the line of the user's program"


def test_a_single_failure_is_reported_once():
    count = []

    def once(carry, hp, steps, seed):
        count.append(seed)
        if len(count) == 6:
            return carry, {"score": float("nan")}
        return quadratic(carry, hp, steps, seed)

    _, texts, _ = warned(PBT, once, stop=pt.steps(20))
    assert len(texts) == 1 and "member 1 diverged after step 5 (task 5): the score was nan." in texts[0]


def test_a_run_without_failures_warns_of_nothing():
    assert warned(PBT, quadratic, stop=pt.steps(20))[1] == []


class NoLoad(Quadratic):
    def load(self, directory):
        raise FileNotFoundError("weights.npy")


def test_where_all_members_fail_the_error_says_it_after_one_warning():
    """And it says what all failures have in common."""
    with warnings.catch_warnings(record=True) as caught, pytest.raises(pt.errors.RunFailed) as error:
        warnings.simplefilter("always")
        pt.run(PBT, NoLoad, stop=pt.steps(40), progress=False)
    assert len(caught) == 1 and "FileNotFoundError: weights.npy" in str(caught[0].message)
    assert str(error.value).startswith("all 4 members failed; ") and "FileNotFoundError: weights.npy" in str(error.value)
    assert "All 4 tasks that began from a checkpoint failed: is load() complete? `poptrain check` tests it." in str(error.value)


@pytest.mark.parametrize("when", ["first", "later"])
def test_a_member_without_the_metric_that_others_return_is_not_asked_for_another_name(when):
    calls = []

    def train(carry, hp, steps, seed):
        calls.append(steps)
        name = "los" if len(calls) == (1 if when == "first" else 6) else "loss"
        return len(calls), {name: 1.0 / len(calls)}

    _, (text,), _ = warned(PBT, train, metric="loss", mode="min", stop=pt.steps(20))
    assert "the metrics have no 'loss'; they hold 'los'. Other members return it." in text and "Did you mean" not in text


def test_failures_of_one_cause_are_counted_together():
    def differing(carry, hp, steps, seed):
        if seed % 5 == 0:
            raise ValueError(f"cannot read /tmp/data-{seed}/x.csv: {hp['lr']} at <object at {hex(id(carry))}>")
        return quadratic(carry, hp, steps, seed)

    run, (_, summary), _ = warned(PBT, differing, stop=pt.steps(40))
    failed = pt.views.status(run.record).failed
    assert f"{failed} × ValueError: cannot read /tmp/data-" in summary and summary.count("ValueError") == 1
    assert summary.endswith("(the others differ in a number or a path).")
    assert len(pt.views.status(run.record).troubles) <= 1


def test_different_errors_have_different_causes():
    texts = ["KeyError: 'a'", "KeyError: 'b'", "ValueError: lr", "the score was nan", "the score was inf"]
    assert len({cause(text) for text in texts}) == len(texts)
    assert cause("bad shape (3, 4) in 'a b/c'") == cause("bad shape (12, 4) in 'd/e f'")


def test_a_filter_that_turns_warnings_into_errors_does_not_stop_a_run(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = pt.run(PBT, sometimes, stop=pt.steps(40), progress=False)
    assert run.record.finished and "warning: member" in capfd.readouterr().err


def test_status_tells_the_text_of_failures_and_who_had_it():
    with pytest.warns(RunWarning):
        run = pt.run(PBT, sometimes, stop=pt.steps(40), progress=False)
    (trouble,) = pt.views.status(run.record).troubles
    assert trouble.error.startswith("KeyError: 'betas'") and set(trouble.members) <= {0, 1, 2, 3}


def test_a_member_that_was_training_when_the_run_stopped_is_shown_as_suspended(tmp_path):
    def stopping(carry, hp, steps, seed):
        if seed % 5 == 1:
            signal.raise_signal(signal.SIGTERM)
        return quadratic(carry, hp, steps, seed)

    with pytest.raises(pt.errors.Suspended):
        pt.run(PBT, stopping, stop=pt.steps(200), directory=tmp_path / "r", progress=False)
    view = pt.views.status(pt.open_run(tmp_path / "r").record)
    assert view.state == "suspended" and "suspended" in {view.doing(member) for member in view.members}
    assert {member.state for member in view.members} <= {"training", "waiting"}, "what programs read has not changed"


def test_a_misspelled_hyperparameter_is_answered_with_the_names_of_the_space():
    def train(carry, hp, steps, seed):
        return carry, {"score": hp["learn_rate"]}

    with pytest.raises(
        RunFailed, match=r"KeyError: 'learn_rate'.*the space has no such hyperparameter, it has 'learning_rate'\. Did"
    ):
        warned(pt.pbt(pt.Space(learning_rate=pt.Uniform(0, 1)), population=2, interval=5), train, stop=pt.steps(20))


def test_another_missing_key_is_not_called_a_hyperparameter():
    def train(carry, hp, steps, seed):
        batch = {"x": hp["lr"]}
        return carry, {"score": batch["images"]}

    with pytest.raises(RunFailed, match=r"KeyError: 'images' \(test_notices.py:\d+\)\.$"):
        warned(PBT, train, stop=pt.steps(20))


@pytest.mark.parametrize(
    ("name", "says"), [("PBT", "Write pt.pbt("), ("compare", "Write pt.views.compare("), ("Float", "pt.Uniform")]
)
def test_a_name_that_people_expect_is_answered_with_ours(name, says):
    with pytest.raises(AttributeError, match=re.escape(says)):
        getattr(pt, name)


def test_a_home_directory_that_nothing_would_expand_is_refused(folder):
    with pytest.raises(UsageError, match=r"run: directory='~/first': only a shell expands '~'; pass os.path.expanduser"):
        pt.run(PBT, quadratic, stop=pt.steps(20), directory="~/first", progress=False)
    assert not list(folder.iterdir())


def test_wrong_arguments_of_every_function_that_trains_are_answered():
    for function in (pt.run, pt.replay, pt.check, pt.resume, pt.study):
        with pytest.raises(UsageError, match=f"pt.{function.__name__} has no argument 'chunk'. Its arguments are"):
            function(chunk=1)


def test_a_metric_that_no_member_returns_is_said_once_by_the_error_that_ends_the_run():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(pt.errors.MetricError, match="hold 'score'"):
            pt.run(PBT, quadratic, metric="acuracy", stop=pt.steps(20), progress=False)
    assert [each for each in caught if each.category is RunWarning] == []


def test_a_metric_that_one_member_does_not_return_is_its_failure_and_is_announced():
    def train(carry, hp, steps, seed):
        carry, metrics = quadratic(carry, hp, steps, seed)
        return carry, {} if seed == first else metrics

    first = pt.run(PBT, quadratic, stop=pt.steps(5), progress=False).history.task(0).seed
    _, texts, _ = warned(PBT, train, stop=pt.steps(20))
    assert len(texts) == 1 and texts[0].startswith("member 0 failed") and "The other members go on" in texts[0]


@pytest.mark.parametrize("mistake", ["raises", "returns nothing"])
def test_a_failed_evaluation_of_zero_steps_says_what_it_is_and_other_failures_do_not(mistake):
    def train(carry, hp, steps, seed):
        if mistake == "raises":
            for _ in range(steps):
                loss = hp["lr"]
            return carry, {"score": loss}
        return carry, {"score": hp["lr"]} if steps else {}

    pb2, why = pt.pb2(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=4, interval=5), ""
    try:
        why = warned(pb2, train, stop=pt.steps(20))[1][0]
    except pt.errors.MetricError as error:  # of all members
        why = str(error)
    assert why.count("The task has steps=0, which means: evaluate only. Compute the metrics after the training loop") == 1
    assert "steps=0" not in warned(PBT, sometimes, stop=pt.steps(20))[1][0]


def test_an_error_that_the_users_code_raises_on_purpose_gets_no_advice_about_evaluation():
    def train(carry, hp, steps, seed):
        if hp["lr"] > 0.001:
            raise ValueError("too high for this data")
        return quadratic(carry, hp, steps, seed)

    _, texts, _ = warned(pt.pb2(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=4, interval=5), train, stop=pt.steps(20))
    assert "too high for this data (test_notices.py:" in texts[0] and "steps=0" not in "".join(texts)
    assert texts[-1].count("ValueError") == 1, "one cause"


def test_load_is_suspected_only_where_a_fresh_member_has_trained():
    def train(carry, hp, steps, seed):
        if steps:
            raise KeyError("noize")
        return quadratic(carry, hp, steps, seed)

    with pytest.raises(pt.errors.RunFailed) as error:
        warned(pt.pb2(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=4, interval=5), train, stop=pt.steps(20))
    assert "noize" in str(error.value) and "load()" not in str(error.value)


def every_kind_of_metric(carry, hp, steps, seed):
    carry, metrics = quadratic(carry, hp, steps, seed)
    numbers = {"true": True, "false": np.bool_(False), "array": np.array([True]), "whole": 3, "absent": None}
    return carry, metrics | numbers | {"note": f"from {seed}", "group": {"a": 1.5}, "many": np.zeros(seed % 3 + 2)}


class Columns:
    """A population whose metrics are columns, with one value for each member."""

    population = True

    def init(self, hparams, seeds):
        return {"x": np.zeros(len(seeds))}

    def gather(self, lanes):
        return {"x": np.array([carry["x"][lane] for carry, lane in lanes])}

    def train(self, carry, hparams, steps, seeds):
        n = len(seeds)
        return {"x": carry["x"] + steps}, {"score": carry["x"] + steps, "ok": np.ones(n, bool), "note": np.array(["text"] * n)}


def test_columns_of_truth_are_numbers_and_columns_of_text_are_named():
    with pytest.warns(RunWarning, match=r"the metric 'note' \(text\) is not recorded") as caught:
        run = pt.run(PBT, Columns(), stop=pt.steps(20), executor="vectorized", progress=False)
    assert len(caught) == 1 and run.best.metrics["ok"] == 1.0 and "note" not in run.best.metrics


@pytest.mark.parametrize("executor", ["inline", pytest.param("processes", marks=pytest.mark.heavy)])
def test_no_metric_is_dropped_in_silence_and_one_warning_names_those_that_are_not_numbers(executor):
    with pytest.warns(RunWarning) as caught:
        run = pt.run(PBT, every_kind_of_metric, stop=pt.steps(20), executor=executor, progress=False)
    (text,) = [str(each.message) for each in caught]
    assert "'note' (text), 'group' (a mapping) and 'many' (an array of shape (" in text and "are not recorded" in text
    logged = dict(run.best.metrics)
    assert {name: logged[name] for name in ("true", "false", "array", "whole")} == {"true": 1, "false": 0, "array": 1, "whole": 3}
    assert not {"note", "group", "many", "absent"} & set(logged)


class Losses(Columns):
    """The loss is `value` in some members, or in all of them."""

    def __init__(self, value, every):
        self.value, self.every = value, every

    def train(self, carry, hparams, steps, seeds):
        x = carry["x"] + steps
        bad = np.arange(len(x)) >= (0 if self.every else 2)
        return {"x": x}, {"gap": np.where(bad, self.value, x)}


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("executor", ["inline", "vectorized"])
@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("value", [float("inf"), -float("inf")])
def test_every_message_shows_what_training_returned_under_its_own_name(value, mode, executor, every, tmp_path):
    """The sign that a run computes with is never shown, whether the run goes on or ends there."""
    calls = []

    def train(carry, hp, steps, seed):
        calls.append(seed)
        return 0, {"gap": value if every or len(calls) in (3, 4) else 1.0}

    trainable = Losses(value, every) if executor == "vectorized" else train
    options = {"metric": "gap", "mode": mode, "stop": pt.steps(10), "executor": executor, "progress": False}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            pt.run(PBT, trainable, directory=tmp_path / "r", **options)
        except RunFailed as error:
            warnings.warn(str(error), RunWarning, stacklevel=1)
    record = pt.open_run(tmp_path / "r").record
    texts = [str(each.message) for each in caught if each.category is RunWarning]
    texts += [trouble.error for trouble in pt.views.status(record).troubles]
    if every:
        texts.append(str(pt.views.status(record).reason))
    texts.append(tables.failures(record))
    assert len(texts) > 2 and all(f"gap was {value}" in text for text in texts), texts
