"""C2 to C4, C10 to C12: whatever user code returns or raises, only its member pays, and the directory stays readable."""

from __future__ import annotations

import asyncio
import itertools
import warnings
from dataclasses import dataclass

import numpy as np
import pytest

import poptrain as pt
from poptrain.algorithms.parts import turns
from poptrain.core import Result, Task
from poptrain.core.protocols import Proposal, Sink
from poptrain.core.rng import task_seed
from poptrain.log.reader import read

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
BAD = 2  # the member of which every return value is wrong


class NoText(ValueError):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class NoRepr:
    def __repr__(self):
        raise SystemExit(3)


class Odd(dict):
    def __getitem__(self, key):
        raise LookupError("not today")

    items = keys = __iter__ = __getitem__


def deep(levels):
    tree = 0
    for _ in range(levels):
        tree = [tree]
    return tree


def cycle():
    tree = []
    tree.append(tree)
    return tree


RETURNS = {
    "c10 steps 2**63": {"score": 1.0, "steps": 2**63},
    "c10 steps 2**53": {"score": 1.0, "steps": 2**53},
    "c10 steps 1e300": {"score": 1.0, "steps": 1e300},
    "c10 steps -1": {"score": 1.0, "steps": -1},
    "c10 steps nan": {"score": 1.0, "steps": float("nan")},
    "c10 steps 2.5": {"score": 1.0, "steps": 2.5},
    "c10 steps text": {"score": 1.0, "steps": "5"},
    "c2 score 10**400": {"score": 10**400},
    "c2 score text": {"score": "1"},
    "c2 score none": {"score": None},
    "c2 score without repr": {"score": NoRepr()},
    "c2 no score": {"loss": 1.0},
    "c2 no mapping": 5,
    "c2 odd mapping": Odd(score=1.0),
    "c3 curve number": {"score": 1.0, "curve": 5},
    "c3 curve of triples": {"score": 1.0, "curve": [(1, 2, 3)]},
    "c3 curve of negative steps": {"score": 1.0, "curve": [(-1, 2.0)]},
    "c3 curve of huge steps": {"score": 1.0, "curve": [(2**60, 2.0)]},
    "c3 curve without end": {"score": 1.0, "curve": ((1, 1.0) for _ in itertools.count())},
    "c3 returns text": {"score": 1.0, "returns": ["a"]},
    "c3 returns too many": {"score": 1.0, "returns": np.zeros(200_000)},
    "c3 a name too long": {"score": 1.0, "x" * 300: 1.0},
    "c3 too many metrics": {"score": 1.0, **{f"m{k}": 1.0 for k in range(100_001)}},
}
PAIRS = {
    "c4 no pair": 5,
    "c4 a triple": (1, 2, 3),
    "c4 carry object": (object(), {"score": 1.0}),
    "c4 carry cycle": (cycle(), {"score": 1.0}),
    "c4 carry deep": (deep(400), {"score": 1.0}),
    "c4 carry keys": ({1: 2}, {"score": 1.0}),
}
RAISES = {
    "c4 error": ValueError("boom"),
    "c4 surrogate": ValueError("file \ud800.txt"),
    "c4 no text": NoText(),
    "c4 control characters": ValueError("\x1b[31m\u202e\nred"),
    "c4 large text": ValueError("x" * 10_000_000),
    "c4 system exit": SystemExit(0),
    "c4 generator exit": GeneratorExit(),
    "c4 cancelled": asyncio.CancelledError(),
    "c4 no memory": MemoryError(),
    "c4 errno": OSError(28, "No space left on device"),
    "c4 suspended": pt.errors.Suspended("another run"),
    "c4 run failed": pt.errors.RunFailed("another run"),
    "c4 damaged": pt.errors.CheckpointDamaged("another checkpoint"),
    "c4 group": ExceptionGroup("two", [ValueError("a"), NoText()]),
}


def trained(directory, train, **options):
    """Runs four members; the task of `BAD` is found by its lr."""
    initial = [{"lr": lr} for lr in (0.01, 0.02, 0.03, 0.04)]
    algorithm = pt.pbt(SPACE, population=4, interval=5, initial=initial, explore=None)
    return pt.run(algorithm, train, stop=pt.steps(15), directory=directory, **options)


def others_go_on(directory, train):
    ended = trained(directory, train)
    record = read(directory)  # it can be opened again, with the same content
    assert repr(record.lines) == repr(ended.record.lines) and record.finished  # as text: NaN equals itself
    results = [ended.history.result(id) for id in range(ended.history.n)]
    bad = [each for each in results if ended.history.task(each.task).hparams["lr"] == 0.03]
    assert bad and not any(each.healthy for each in bad) and all(each.error and each.error.encode() for each in bad)
    assert all(each.healthy for each in results if each not in bad)
    assert all(ended.history.ok(int(id)) for id in ended.history.heads()), "the member was replaced"
    assert pt.verify(directory).ok
    return bad[0]


def others_outlive(directory, error):
    """Returns the result of a member that raises `error`, after `others_go_on`."""

    def train(carry, hp, steps, seed):
        if hp["lr"] == 0.03:
            raise error
        return 0, {"score": hp["lr"]}

    return others_go_on(directory, train)


@pytest.mark.parametrize("name", RETURNS)
def test_what_a_member_returns_is_its_own_failure(name, tmp_path):
    def train(carry, hp, steps, seed):
        return 0, RETURNS[name] if hp["lr"] == 0.03 else {"score": hp["lr"]}

    bad = others_go_on(tmp_path / "r", train)
    assert "member 2" in bad.error or "LookupError" in bad.error or "TypeError" in bad.error


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_that_cannot_be_stored_is_its_members_failure(name, tmp_path):
    others_go_on(tmp_path / "r", lambda c, hp, n, s: PAIRS[name] if hp["lr"] == 0.03 else (0, {"score": hp["lr"]}))


@pytest.mark.parametrize("name", RAISES)
def test_what_a_member_raises_is_its_own_failure(name, tmp_path):
    bad = others_outlive(tmp_path / "r", RAISES[name])
    assert bad.error.startswith(type(RAISES[name]).__name__) and len(bad.error) <= 300
    assert (tmp_path / "r" / "errors" / "m002-t000002.txt").stat().st_size <= 210_000


def test_c10_a_member_that_trains_nothing_twice_in_a_row_has_failed(tmp_path):
    bad = 0

    def train(carry, hp, steps, seed):
        return 0, {"score": hp["lr"], "steps": 0 if hp["lr"] == 0.03 else steps}

    ended = trained(tmp_path / "r", train)
    for id in range(ended.history.n):
        result = ended.history.result(id)
        bad += not result.healthy
        assert result.healthy or "steps=0 twice in a row" in result.error
    assert bad == 1 and all(ended.history.step(int(id)) == 15 for id in ended.history.heads())
    with pytest.raises(pt.errors.RunFailed, match="steps=0 twice"):  # if all do it, the run ends
        trained(tmp_path / "all", lambda c, hp, n, s: (0, {"score": 1.0, "steps": 0}))


def test_c2_metrics_that_nobody_can_read_stop_the_run_when_half_of_the_members_have_them(tmp_path):
    calls = []

    def train(carry, hp, steps, seed):
        calls.append(hp)
        return 0, {"loss": 1.0}

    with pytest.raises(pt.errors.MetricError, match="member 0, step 5: the metrics have no 'score'"):
        trained(tmp_path / "r", train)
    assert len(calls) == 2 and read(tmp_path / "r").lines


# -- algorithms -----------------------------------------------------------------------------------------------------------


WRONG = {}  # what is wrong with the algorithm: "ask" or "needed"


@pytest.fixture(autouse=True)
def right():
    WRONG.clear()


@dataclass(frozen=True)
class Mine:
    """Two members, and one thing that may be wrong, which the log does not know."""

    space: pt.Space = SPACE
    seats = 2

    def ask(self, history):
        if history.n == 0:
            tasks = turns.first_round(history, self.space, 2, 5)
        elif history.budget is not None and (seats := turns.turns(history, sync=True)):
            plans = [turns.Plan(seat, history.head(seat), history.task(history.head(seat)).hparams) for seat in seats]
            tasks = turns.segments(history, plans, 5)
        else:
            return ()
        return WRONG["ask"](history, tasks) if "ask" in WRONG else tasks

    def needed(self, history):
        return WRONG["needed"](history) if "needed" in WRONG else turns.needed(history)


def one(carry, hp, steps, seed):
    return 0, {"score": 1.0}


def rising(carry, hp, steps, seed):
    return 0, {"score": hp["lr"]}


def raising(history, tasks):
    raise ZeroDivisionError("division by zero")


def altered(**fields):
    def change(history, tasks):
        first = {name: getattr(tasks[0], name) for name in Task.__dataclass_fields__} | fields
        return (Task(**first), *tasks[1:])

    return change


ASKS = {
    "raises": (raising, "ask raised ZeroDivisionError: division by zero"),
    "none": (lambda h, t: None, "returned None, expected a tuple of Task"),
    "no tasks": (lambda h, t: (1, 2), "expected a tuple of Task"),
    "ids": (altered(id=7), "expected the next id, 0"),
    "seat": (altered(member=1), "member 1 is still busy"),
    "too many seats": (altered(member=9), "seat 9, but the algorithm has seats=2"),
    "negative": (altered(steps=-1), "steps=-1"),
    "huge": (altered(steps=2**70), "steps="),
    "parent": (altered(parent=5), "parent or teacher 5 has no result"),
    "hparams": (altered(hparams={"lr": 5.0}), "lr=5.0, expected a value of"),
    "nan": (altered(hparams={"lr": float("nan")}), "lr=nan"),
    "no hparams": (altered(hparams={}), "no hyperparameter 'lr'"),
    "object": (altered(hparams={"lr": object()}), "hparams="),
    "long": (altered(hparams={"lr": 10**400}), "hparams="),
    "tags": (altered(tags=[1]), "tags="),
    "note": (altered(note={"why": object()}), "the log cannot hold object"),
    "deep": (altered(note={"why": deep(100_000)}), "cannot be written"),
}


@pytest.mark.parametrize("name", ASKS)
def test_c12_what_an_algorithm_asks_is_checked_before_anything_is_written(name, tmp_path):
    WRONG["ask"], words = ASKS[name]
    with pytest.raises(pt.UsageError) as caught:
        pt.run(Mine(), one, stop=pt.steps(10), directory=tmp_path / "r")
    assert words in str(caught.value), str(caught.value)
    assert len(str(caught.value)) < 600 and read(tmp_path / "r").lines == []
    WRONG.clear()
    ended = pt.run(Mine(), one, stop=pt.steps(10), directory=tmp_path / "r")
    assert ended.record.finished and pt.verify(tmp_path / "r").ok


def test_c12_an_explore_object_that_changes_static_values_is_stopped_before_it_is_written(tmp_path):
    """The values would no longer be those that the weights were made with."""

    class Widens:
        def propose(self, history, space, clones):
            return [Proposal({**clone.hparams, "width": 96 - clone.hparams["width"]}) for clone in clones]

    space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1), width=pt.Ordinal(32, 64, static=True))
    with pytest.raises(pt.UsageError, match=r"task 4 changes the static hyperparameter 'width' from \d+ to \d+"):
        pt.run(pt.pbt(space, 4, interval=5, explore=Widens()), rising, stop=pt.steps(10), directory=tmp_path / "r")
    facts = [fact for line in read(tmp_path / "r").lines for fact in line]
    assert sum(isinstance(fact, Task) for fact in facts) == 4 == sum(isinstance(fact, Result) for fact in facts), (
        "the first round"
    )


def test_numbers_of_numpy_in_tasks_become_pythons_own(tmp_path):
    change = altered(id=np.int64(0), steps=np.int32(5), hparams={"lr": np.float32(0.01)})
    WRONG["ask"] = lambda h, t: change(h, t) if h.n == 0 else t
    ended = pt.run(Mine(), pt.testing.quadratic, stop=pt.steps(10), directory=tmp_path / "r")
    assert type(ended.history.task(0).hparams["lr"]) is float and read(tmp_path / "r").lines == ended.record.lines


@pytest.mark.parametrize("kept", [lambda h: 5, lambda h: {"a"}, lambda h: 1 / 0, lambda h: [[1]]])
def test_c12_what_an_algorithm_needs_is_checked(kept, tmp_path):
    WRONG["needed"] = kept
    with pytest.raises(pt.UsageError, match="Mine.needed"):
        pt.run(Mine(), pt.testing.quadratic, stop=pt.steps(10), directory=tmp_path / "r")


# -- executors and sinks --------------------------------------------------------------------------------------------------


class Answering:
    """An executor that answers with what it was given."""

    def __init__(self, answer):
        self.answer, self.tasks = answer, []

    def open(self, context):
        return self

    def submit(self, tasks):
        self.tasks += tasks

    def wait(self):
        return self.answer(self.tasks.pop(0))

    def drain(self, seconds):
        return iter(())

    def close(self):
        pass


@pytest.mark.parametrize(
    "answer",
    [
        lambda task: [Result(task.id, 1.0, 2**63, checkpoint="a:0")],
        lambda task: [Result(task.id, "1", task.steps, checkpoint="a:0", kind="failed")],
        lambda task: [Result(task.id, 1.0, -5, checkpoint="a:0")],
        lambda task: [Result(task.id, 1.0, 5, metrics={1: 2.0}, checkpoint="a:0")],
        lambda task: [Result(task.id, 1.0, 5, seconds="long", checkpoint="a:0")],
        lambda task: [Result(task.id, 1.0, 5, error=b"bytes")],
    ],
)
def test_c9_a_result_that_no_log_can_hold_is_a_failure(answer, tmp_path):
    with pytest.raises((pt.errors.MetricError, pt.errors.RunFailed)):
        pt.run(Mine(), pt.testing.quadratic, stop=pt.steps(10), directory=tmp_path / "r", executor=Answering(answer))
    results = [fact for line in read(tmp_path / "r").lines for fact in line if isinstance(fact, Result)]
    assert results and all(result.kind == "failed" and "member" in result.error for result in results)


@pytest.mark.parametrize(
    "answer", [lambda t: None, lambda t: [1], lambda t: [Result(99, 1.0, 5)], lambda t: [Result("a", 1.0, 5)]]
)
def test_c9_an_answer_that_is_no_result_stops_with_a_sentence(answer, tmp_path):
    with pytest.raises(pt.PoptrainError, match="Answering returned"):
        pt.run(Mine(), pt.testing.quadratic, stop=pt.steps(10), directory=tmp_path / "r", executor=Answering(answer))
    assert len(read(tmp_path / "r").lines) == 1


class Broken(Sink):
    """Raises wherever it is called, what has no text."""

    every, patience = float("nan"), "soon"

    def open(self, record):
        raise NoText

    def hint(self, record):
        raise NoText


def test_d6_a_sink_with_impossible_attributes_and_warnings_that_are_errors_stop_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ended = trained(tmp_path / "r", pt.testing.quadratic, sinks=[Broken()])
    assert ended.record.finished


# -- members that fail for ever -------------------------------------------------------------------------------------------


def test_a8_members_that_fail_for_ever_beside_one_that_cannot_go_on_end_the_run(tmp_path):
    @dataclass(frozen=True)
    class Stubborn(Mine):
        def ask(self, history):
            if history.n == 0:
                return turns.first_round(history, self.space, 2, 5)
            if history.waiting or history.ok(history.head(1)):
                return ()
            return turns.segments(history, [turns.Plan(1, 0, history.task(0).hparams)], 5)

    broken = True
    first = task_seed(0, 0)

    def train(carry, hp, steps, seed):
        if broken and seed != first:
            raise ValueError("the simulator broke")
        return 1, {"score": 1.0}

    ended = pt.run(Stubborn(), train, stop=pt.steps(20), directory=tmp_path / "r")
    assert ended.record.finished and ended.history.n < 150 and ended.history.ok(0)
    assert "tasks in a row failed" in pt.views.status(ended.record).reason
    assert "the simulator broke" in pt.views.status(ended.record).reason
    broken = False
    again = pt.run(Stubborn(), train, stop=pt.steps(20), directory=tmp_path / "r")
    assert again.history.ok(again.history.head(1)), "once the code was mended, the run goes on"
