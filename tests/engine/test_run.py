"""``run``: it ends when it should, survives everything in between, and continues exactly where it stopped."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
from experiment_file import FILE

import poptrain as pt
from poptrain.algorithms.parts import turns
from poptrain.core import Result, Task, clock
from poptrain.log.reader import read
from poptrain.log.writer import Log
from poptrain.testing import Faulty, Quadratic, quadratic

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
PBT = pt.pbt(SPACE, population=4, interval=5, exploit=pt.truncation(0.25))


def facts(run):
    """Returns all decisions and scores of a run, without what a clock measured and how an attempt was named."""
    lines = []
    for number in range(run.history.lines):
        for fact in run.history.line(number):
            if isinstance(fact, Task):
                lines.append(fact)
            elif isinstance(fact, Result):
                lines.append((fact.task, fact.score, fact.step, tuple(fact.curve)))
    return lines


def run(directory=None, trainable=quadratic, stop=None, algorithm=PBT, **options):
    return pt.run(algorithm, trainable, stop=stop or pt.steps(25), directory=directory, **options)


@pytest.fixture(scope="module")
def whole():
    return run()


# -- what comes out ---------------------------------------------------------------------------------------------------


def test_best_is_the_best_and_final_best_is_among_the_last(whole):
    scores = whole.history.table()["score"]
    assert whole.best.score == max(scores)
    finals = [whole.member(seat) for seat in range(4)]
    assert whole.final_best.score == max(member.score for member in finals)
    assert all(member.step == 25 for member in finals)
    assert whole.best.load()["theta"][0] == pytest.approx(math.sqrt(1.2 - whole.best.score), abs=1e-6)
    with pytest.raises(pt.UsageError, match="members 0 to 3"):
        whole.member(4)


def test_a_directory_changes_nothing(whole, tmp_path):
    assert facts(run(tmp_path / "r")) == facts(whole)


def test_minimising_is_maximising_the_negative_and_every_number_keeps_the_users_sign(whole, tmp_path):
    def loss(carry, hp, steps, seed):
        carry, metrics = quadratic(carry, hp, steps, seed)
        return carry, {"loss": -metrics["score"]}

    low = run(tmp_path / "r", loss, metric="loss", mode="min")
    assert low.best.score == -whole.best.score and low.best.hparams == whole.best.hparams
    assert low.history.table()["score"] == [-score for score in whole.history.table()["score"]]
    logged = [fact.score for line in read(tmp_path / "r").lines for fact in line if isinstance(fact, Result)]
    assert min(logged) == low.best.score
    assert pt.open_run(tmp_path / "r").best.score == low.best.score


@pytest.mark.parametrize("trainable", [quadratic, Quadratic], ids=["function", "class"])
def test_a_run_is_readable_by_whoever_comes_later(trainable, tmp_path):
    made = run(tmp_path / "r", trainable)
    opened = pt.open_run(tmp_path / "r", trainable)
    assert opened.best.score == made.best.score and opened.best.hparams == made.best.hparams
    theta = opened.best.load()["theta"][0] if trainable is quadratic else opened.best.load().theta
    assert 1.2 - theta**2 == pytest.approx(made.best.score)


def test_without_the_class_a_checkpoint_is_a_path_and_a_warning_says_how_to_get_the_object(tmp_path, monkeypatch):
    made = run(tmp_path / "r", Quadratic)
    monkeypatch.setattr("poptrain.engine.result.class_in_memory", lambda name: None)
    with pytest.warns(
        pt.errors.RunWarning, match=r"Quadratic.save wrote, .* pass the class, as in pt.open_run\(directory, TheClass"
    ):
        path = pt.open_run(tmp_path / "r").best.load()
    assert path.is_dir() and pt.open_run(tmp_path / "r", Quadratic).best.load().theta == made.best.load().theta


def test_known_good_configurations_go_to_the_first_members():
    algorithm = pt.pbt(SPACE, population=4, interval=5, initial=[{"lr": 0.01}, {"lr": 0.002}])
    history = run(algorithm=algorithm).history
    assert [history.task(seat).hparams["lr"] for seat in range(2)] == [0.01, 0.002]


def test_generator_functions_train_one_step_a_yield():
    def descend(carry, hp, seed):
        theta = 0.9 if carry is None else carry
        while True:
            theta -= 2 * hp["lr"] * theta
            yield theta, {"score": 1.2 - theta**2}

    def looped(carry, hp, steps, seed):
        theta = 0.9 if carry is None else carry
        for _ in range(steps):
            theta -= 2 * hp["lr"] * theta
        return theta, {"score": 1.2 - theta**2}

    assert facts(run(trainable=descend)) == facts(run(trainable=looped))


def test_nested_names_reach_the_trainable_nested():
    seen = []

    def train(carry, hp, steps, seed):
        seen.append(hp)
        return 0, {"score": hp["optimizer"]["lr"]}

    space = pt.Space(optimizer={"lr": pt.LogUniform(1e-3, 1e-1)}, width=pt.Int(1, 8))
    run(trainable=train, algorithm=pt.pbt(space, population=2, interval=5))
    assert set(seen[0]) == {"optimizer", "width"}


# -- when it ends -----------------------------------------------------------------------------------------------------


def test_generations_are_intervals(whole):
    assert facts(run(stop=pt.generations(5))) == facts(whole)


def test_a_score_ends_the_run_in_the_users_sign():
    ended = run(stop=pt.any_of(pt.score(1.0), pt.steps(10_000)))
    assert ended.best.score >= 1.0 and ended.history.n < 4 * 2000

    def loss(carry, hp, steps, seed):
        carry, metrics = quadratic(carry, hp, steps, seed)
        return carry, {"loss": 1.2 - metrics["score"]}

    ended = run(trainable=loss, metric="loss", mode="min", stop=pt.any_of(pt.score(0.2), pt.steps(10_000)))
    assert ended.best.score <= 0.2 and ended.history.n < 4 * 2000


def test_time_ends_the_run():
    def slow(carry, hp, steps, seed):
        clock.sleep(1)
        return quadratic(carry, hp, steps, seed)

    with clock.use(clock.FakeClock()):
        ended = run(None, slow, stop=pt.seconds(10))
    assert ended.history.n > 4 and not ended.history.pending()


def test_an_interval_may_be_a_length_of_time():
    def slow(carry, hp, steps, seed):
        clock.sleep(steps / 128)
        return quadratic(carry, hp, steps, seed)

    algorithm = pt.pbt(SPACE, population=2, interval=pt.seconds(4 / 128))
    with clock.use(clock.FakeClock()):  # one member after the other: 8 / 128 s a generation
        history = run(None, slow, algorithm=algorithm, stop=pt.seconds(40 / 128)).history
    assert [history.step(id) - history.step(history.task(id).parent) for id in range(history.n)] == [4] * 10


# -- what goes wrong on the way ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["raise", "nan", "inf", "sys.exit"])
def test_bad_members_are_replaced_and_the_run_goes_on(fault, tmp_path):
    ended = run(tmp_path / "r", Faulty(fault, above=0.02), stop=pt.steps(50), algorithm=pt.pbt(SPACE, population=8, interval=5))
    heads = [int(id) for id in ended.history.heads()]
    assert math.isfinite(ended.best.score) and len(heads) == 8
    assert sum(ended.history.ok(id) for id in heads) >= 6
    failed = [id for id in range(ended.history.n) if not ended.history.ok(id)]
    assert failed and not {ended.history.task(id).parent for id in range(ended.history.n)} & set(failed)
    if fault == "raise":
        result = ended.history.result(failed[0])
        assert result.error.startswith("ValueError: a planted fault (trainables.py:")
        texts = [path.read_text() for path in sorted((tmp_path / "r" / "errors").iterdir())]
        assert len(texts) == len(failed)
        assert all("Traceback" in text and "lr=" in text and "member" in text for text in texts)


def test_when_all_members_fail_the_run_says_so(tmp_path):
    with pytest.raises(pt.errors.RunFailed, match=r"all 4 members failed.*ValueError.*errors"):
        run(tmp_path / "r", Faulty("raise"))
    alone = pt.random_search(pt.Space(lr=pt.Uniform(0.0, 1.0)), population=1, interval=5)
    with pytest.raises(
        pt.errors.RunFailed, match=r"^the only member failed; no result was ever finite\. Reason: the score was nan"
    ):
        pt.run(alone, lambda carry, hp, steps, seed: (0, {"score": float("nan")}), stop=pt.steps(10), progress=False)


@pytest.mark.parametrize(
    "metrics, words",
    [
        ({"acc": 1.0}, ["member 0", "step 5", "'score'", "'acc'"]),
        ({"scor": 1.0}, ["Did you mean 'scor'"]),
        ({"score": "0.9"}, ["'0.9'", "str"]),
        ({"score": True}, ["True"]),
        ({"score": None}, ["None"]),
        ({"score": np.zeros(3)}, ["one number"]),
        ({"score": 1j}, ["1j"]),
        ([1.0], ["list", "mapping"]),
    ],
)
def test_a_score_that_is_none_stops_the_run_with_one_sentence(metrics, words):
    with pytest.raises(pt.errors.MetricError) as caught:
        run(trainable=lambda carry, hp, steps, seed: (0, metrics))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_scores_of_other_libraries_are_numbers():
    for value in (np.float32(0.5), np.array([0.5]), np.int64(1), 1):
        assert run(trainable=lambda c, h, n, s, value=value: (0, {"score": value})).best.score == np.asarray(value, float).item()


def test_a_sink_that_fails_is_switched_off_and_training_goes_on(whole):
    class Broken:
        calls = 0

        def write(self, record, history):
            Broken.calls += 1
            raise RuntimeError("no disk")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert facts(run(sinks=[Broken()])) == facts(whole)
    assert Broken.calls == 1 and any("no disk" in str(warning.message) for warning in caught)


# -- stopping and going on --------------------------------------------------------------------------------------------


class Dies(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("when", ["before", pytest.param("after", marks=pytest.mark.heavy)])
@pytest.mark.parametrize(
    "options", [{}, pytest.param({"trainable": Quadratic}, marks=pytest.mark.heavy)], ids=["function", "class"]
)
def test_dying_at_any_line_changes_nothing(when, options, tmp_path, monkeypatch):
    straight = facts(run(**options))
    append, lines = Log.append, run(tmp_path / "whole", **options).history.lines
    for dies_at in range(lines):
        count = 0

        def dying(self, line, dies_at=dies_at, **how):
            nonlocal count
            if when == "before" and count == dies_at:
                raise Dies
            append(self, line, **how)
            count += 1
            if when == "after" and count == dies_at + 1:
                raise Dies

        directory = tmp_path / f"{dies_at}"
        with monkeypatch.context() as patch, pytest.raises(Dies):
            patch.setattr(Log, "append", dying)
            run(directory, **options)
        assert facts(run(directory, **options)) == straight


def test_a_finished_run_returns_at_once_and_can_be_extended(tmp_path):
    first = run(tmp_path / "r", stop=pt.steps(15))
    size = (tmp_path / "r" / "log-000001.jsonl").stat().st_size
    again = run(tmp_path / "r", stop=pt.steps(15))
    assert facts(again) == facts(first) and again.best.load()["steps"] == first.best.step
    assert (tmp_path / "r" / "log-000001.jsonl").stat().st_size == size, "nothing is opened, nothing is written"
    longer = run(tmp_path / "r", stop=pt.steps(25))
    assert facts(longer)[: len(facts(first))] == facts(first)
    assert all(longer.member(seat).step == 25 for seat in range(4))
    assert size < (tmp_path / "r" / "log-000001.jsonl").stat().st_size
    assert pt.open_run(tmp_path / "r").history.budget == 25


@pytest.mark.parametrize(
    "change, named",
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"algorithm": pt.pbt(SPACE, population=5, interval=5)}, "population was 4, is 5"),
        ({"algorithm": pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 2e-1)), population=4, interval=5)}, "high was 0.1, is 0.2"),
        ({"algorithm": pt.random_search(SPACE, population=4, interval=5)}, "Independent"),
        ({"mode": "min"}, "mode"),
        ({"trainable": Quadratic}, "trainable"),
    ],
)
def test_another_experiment_in_the_same_directory_is_refused_with_the_difference(change, named, tmp_path):
    run(tmp_path / "r", algorithm=pt.pbt(SPACE, population=4, interval=5))
    before = (tmp_path / "r" / "log-000001.jsonl").read_bytes()
    with pytest.raises(pt.UsageError, match="another run") as caught:
        run(tmp_path / "r", **{"algorithm": pt.pbt(SPACE, population=4, interval=5), **change})
    assert named in str(caught.value)
    assert (tmp_path / "r" / "log-000001.jsonl").read_bytes() == before


def test_a_run_in_which_nothing_was_trained_may_be_deleted(tmp_path):
    with pytest.raises(pt.UsageError, match="the metrics have no 'accuracy'; .* another one: metric='score'"):
        run(tmp_path / "r", metric="accuracy")
    with pytest.raises(pt.UsageError, match="metric was 'accuracy', is 'score'. Nothing .*: delete it or pass overwrite=True"):
        run(tmp_path / "r")


def test_an_experiment_says_everything_but_where(tmp_path):
    experiment = pt.Experiment(pt.pbt(SPACE, population=4, interval=5), quadratic, stop=pt.steps(20), seed=3)
    ran = pt.run(experiment, directory=tmp_path / "r")
    assert facts(ran) == facts(pt.run(experiment.algorithm, quadratic, stop=pt.steps(20), seed=3))
    assert ran.record.file is None, "this file exposes no experiment of that name"


@pytest.mark.parametrize("changes", [dict(seed=0), dict(stop=pt.steps(10)), dict(mode="min"), dict(seed=7, mode="min")])
def test_what_is_given_with_an_experiment_replaces_what_it_has(tmp_path, changes):
    experiment = pt.Experiment(pt.pbt(SPACE, population=4, interval=5), quadratic, stop=pt.steps(20), seed=3)
    found = pt.run(experiment, directory=tmp_path, **changes)
    assert facts(found) == facts(pt.run(replace(experiment, **changes)))
    assert facts(found) != facts(pt.run(experiment)), "it is another run"
    with pytest.raises(pt.UsageError, match="sede.*Did you mean 'seed'"):
        pt.run(experiment, sede=1)
    with pytest.raises(pt.UsageError, match="seed=-1"):
        pt.run(experiment, seed=-1)


def test_a_script_that_runs_its_experiment_is_resumed_and_verified_by_the_command_line(tmp_path):
    text = (
        FILE
        + """

def train(carry, hp, steps, seed):
    return quadratic(carry, hp, steps, seed)


experiment = pt.Experiment(experiment.algorithm, train, stop=pt.steps(20))

if __name__ == "__main__":
    pt.run(experiment, directory="run")
"""
    )
    (tmp_path / "script.py").write_text(text)
    for command in (["script.py"], ["-m", "poptrain", "resume", "run", "--steps", "30"], ["-m", "poptrain", "verify", "run"]):
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and "warning" not in done.stdout + done.stderr, done.stdout + done.stderr
    assert "decisions: " in done.stdout and "each is what" in done.stdout
    assert pt.open_run(tmp_path / "run").history.budget == 30


def test_a_damaged_checkpoint_is_noticed_and_its_member_replaced(tmp_path, monkeypatch):
    def interrupted(self, line, count=[0], **how):  # noqa: B006 (a counter that lives as long as the patch)
        append(self, line, **how)
        count[0] += 1
        if count[0] == 12:
            raise Dies

    append = Log.append
    with monkeypatch.context() as patch, pytest.raises(Dies):
        patch.setattr(Log, "append", interrupted)
        run(tmp_path / "r")
    history = pt.open_run(tmp_path / "r").history
    standing = next(int(id) for id in history.standing() if history.ok(int(id)))
    ref = history.result(standing).checkpoint.partition(":")[0]
    next((tmp_path / "r" / "checkpoints" / ref).glob("*.safetensors")).write_bytes(b"rot")
    ended = run(tmp_path / "r")
    assert not ended.history.ok(standing)
    assert all(ended.history.ok(int(id)) for id in ended.history.heads())


def test_checkpoints_do_not_pile_up(tmp_path):
    run(tmp_path / "r", stop=pt.steps(200))
    assert len(list((tmp_path / "r" / "checkpoints").iterdir())) <= 4 + 1


def test_kept_checkpoints_stay(tmp_path):
    ended = run(tmp_path / "r", keep=[0])
    assert ended.store.read(ended.history.result(0).checkpoint)["steps"] == 5


@pytest.mark.parametrize(
    "wrong", [None, "pbt", pt.pbt, object(), pt.truncation(0.2)], ids=["None", "name", "factory", "object", "exploit"]
)
def test_an_algorithm_that_is_none_names_the_protocol(wrong):
    with pytest.raises(
        pt.UsageError, match=r"algorithm=.*ask\(history\) and needed\(history\) of the protocol .*protocols.Algorithm"
    ):
        pt.run(wrong, quadratic, stop=pt.steps(5))


@pytest.mark.parametrize("wrong", [object(), pt.sinks.Guarded], ids=["no write", "a class"])
def test_a_wrong_sink_is_refused_before_there_is_a_run_directory(tmp_path, wrong):
    with pytest.raises(pt.UsageError, match="^sinks: .* pass an object"):
        pt.run(PBT, quadratic, stop=pt.steps(5), directory=tmp_path / "r", sinks=[wrong])
    assert not (tmp_path / "r").exists()


def test_an_executor_without_drain_is_refused_before_anything_is_trained():
    class Half:
        """An executor of a user's own from before `drain` was part of the protocol."""

        def open(self, context):
            return self

        def submit(self, tasks):
            raise AssertionError("nothing may be submitted")

        wait = close = submit

    with pytest.raises(pt.UsageError, match="opens a Half, expected an object with submit, wait, drain and close"):
        pt.run(PBT, quadratic, stop=pt.steps(5), executor=Half())


@dataclass(frozen=True)
class Labelled:
    """An algorithm whose tasks have a role of its own."""

    role: str
    space: pt.Space = pt.Space(lr=pt.LogUniform(1e-3, 0.3))
    seats: int = 2

    def ask(self, history):
        first = turns.first_round(history, self.space, self.seats, 5) if history.n == 0 else ()
        return tuple(replace(task, role=self.role) for task in first)

    def needed(self, history):
        return turns.needed(history)


def test_a_role_that_does_not_exist_is_refused_before_it_is_logged(tmp_path):
    with pytest.raises(
        pt.UsageError, match=r"^task 0: role='student', expected one of '', 'control', 'evaluator', 'candidate'\.$"
    ):
        run(tmp_path, algorithm=Labelled("student"), stop=pt.steps(5))
    assert not read(tmp_path).lines
    assert run(algorithm=Labelled("control"), stop=pt.steps(5)).history.n == 2


def test_an_error_in_load_is_the_users_own(tmp_path):
    class Picky(Quadratic):
        def load(self, directory):
            raise ValueError("other sizes")

    run(tmp_path / "r", Quadratic)
    with pytest.raises(ValueError, match="other sizes") as caught:
        pt.open_run(tmp_path / "r", Picky).best.load()
    assert caught.value.__cause__ is None
