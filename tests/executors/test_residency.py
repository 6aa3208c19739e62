"""Members of a class that wait hold nothing: the old object is closed before another is made. Objects know the budget."""

from __future__ import annotations

import json

import pytest

import poptrain as pt

SPACE = pt.Space(lr=pt.LogUniform(0.01, 1))
EXECUTORS = {"inline": "inline", "processes": pt.executors.Processes(slots=1)}
alive: set[int] = set()


class Model:
    """Refers to itself, as frameworks do, so that only the collector frees it."""

    def __init__(self):
        self.me = self
        alive.add(id(self))

    def __del__(self):
        alive.discard(id(self))


class Member:
    budget = None
    opened = 0  # objects that were made and not closed

    def __init__(self, hp, seed):
        Member.opened += 1
        self.x, self.model = 0.0, Model()

    def train(self, hp, steps):
        self.x += hp["lr"] * steps
        return {"score": self.x, "alive": len(alive), "opened": Member.opened, "budget": self.budget or -1}

    def save(self, directory):
        (directory / "x.json").write_text(json.dumps(self.x))

    def load(self, directory):
        self.x = json.loads((directory / "x.json").read_text())

    def close(self):
        Member.opened -= 1

    def set_budget(self, steps):
        self.budget = steps


def metrics(run, name):
    return {run.history.result(id).metrics[name] for id in range(run.history.n)}


@pytest.mark.parametrize("executor", EXECUTORS.values(), ids=list(EXECUTORS))
def test_one_slot_holds_one_object(executor):
    Member.opened = 0
    run = pt.run(pt.pbt(SPACE, population=5, interval=1), Member, stop=pt.steps(4), executor=executor)
    assert metrics(run, "alive") == metrics(run, "opened") == {1}
    assert Member.opened == 0 and all(run.history.ok(id) for id in range(run.history.n))


def test_an_object_that_fails_is_closed_too():
    class Fails(Member):
        def train(self, hp, steps):
            if hp["lr"] > 0.3:
                raise ValueError("planted")
            return super().train(hp, steps)

    Member.opened = 0
    initial = [{"lr": 0.5}, {"lr": 0.1}, {"lr": 0.1}]
    run = pt.run(pt.pbt(SPACE, population=3, interval=1, initial=initial), Fails, stop=pt.steps(3))
    assert Member.opened == 0 and not run.history.ok(0)


def test_a_member_that_goes_on_alone_is_not_loaded_again():
    class Loaded(Member):
        def load(self, directory):
            raise AssertionError("it is in memory")

    run = pt.run(pt.random_search(SPACE, population=1, interval=1), Loaded, stop=pt.steps(4))
    assert run.history.n == 4 and all(run.history.ok(id) for id in range(4))


@pytest.mark.parametrize("executor", EXECUTORS.values(), ids=list(EXECUTORS))
def test_an_object_knows_the_budget(executor):
    run = pt.run(pt.random_search(SPACE, population=2, interval=2), Member, stop=pt.steps(6), executor=executor)
    assert metrics(run, "budget") == {6}


def test_a_replay_of_the_first_half_keeps_the_budget_of_the_run():
    class Late(Member):
        def train(self, hp, steps):
            return super().train(hp, steps) | {"score": -abs(self.x - 2 * hp["lr"])}  # best after two of six steps

    run = pt.run(pt.random_search(SPACE, population=1, interval=1), Late, stop=pt.steps(6))
    again = pt.replay(run, Late, task=1)
    assert again.history.step(int(again.history.heads()[0])) == 2 and metrics(again, "budget") == {6}
    assert metrics(pt.replay(run, Late, task=1, stop=pt.steps(4), fit="stretch"), "budget") == {12}


def test_a_close_that_fails_is_a_warning():
    class Bad(Member):
        def close(self):
            raise OSError("planted")

    with pytest.warns(RuntimeWarning, match=r"close\(\) of .*Bad raised OSError: planted"):
        pt.run(pt.random_search(SPACE, population=2, interval=1), Bad, stop=pt.steps(2))
