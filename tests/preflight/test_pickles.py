"""Two pickles of equal objects are the same, whatever the objects share; one changed value is seen."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest

import poptrain as pt
from poptrain.preflight.pickles import same


class Model:
    def __init__(self):
        self.first, self.second = np.arange(3.0), np.arange(4.0)
        self.named = {"a": 1, "b": [1, 2, (3, None)], "me": self}


def continued(protocol):
    """Returns the pickle of a model that trained on, and of one that was loaded before; they share other types of arrays."""
    one = Model()
    other = pickle.loads(pickle.dumps(one))
    one.second = other.second = np.arange(4.0) + 1
    return one, pickle.dumps(one, protocol), pickle.dumps(other, protocol)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_equal_objects_are_the_same_and_changed_ones_are_not(protocol):
    model, one, other = continued(protocol)
    assert one != other and same(one, other) is True
    model.second[3] = 0
    assert same(pickle.dumps(model, protocol), other) is False
    assert same(one, one[:-20]) is None, "half a pickle proves nothing"
    assert same(b"text", b"other text") is False, "this is no pickle"


def test_an_archive_is_compared_by_its_entries():
    def archive(**entries):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as made:
            for name, data in entries.items():
                made.writestr(name, data)
        return file.getvalue()

    _, one, other = continued(4)
    assert same(archive(data=one, x=b"1"), archive(data=other, x=b"1")) is True
    assert same(archive(data=one, x=b"1"), archive(data=other, x=b"2")) is False
    assert same(archive(data=one), archive(data=other, x=b"")) is False


def test_arrays_of_joblib_are_read_over():
    joblib = pytest.importorskip("joblib")

    def dumped(what):
        joblib.dump(what, file := io.BytesIO())
        return file.getvalue()

    one = Model()
    other = pickle.loads(pickle.dumps(one))
    one.second = other.second = np.arange(4.0) + 1
    assert dumped(one) != dumped(other) and same(dumped(one), dumped(other)) is True
    one.first = one.first + 1
    assert same(dumped(one), dumped(other)) is False


class Pickled:
    """A member that saves itself as scikit-learn's users do; `count` is saved, and lost if `forgets`."""

    forgets = False

    def __init__(self, hp, seed):
        self.model, self.model.count = Model(), 0

    def train(self, hp, steps):
        self.model.second = self.model.second + hp["lr"] * steps
        self.model.count += steps
        return {"score": float(self.model.second.sum())}

    def save(self, directory):
        (directory / "model.pkl").write_bytes(pickle.dumps(self.model))

    def load(self, directory):
        self.model = pickle.loads((directory / "model.pkl").read_bytes())
        self.model.count *= not self.forgets


class Forgetful(Pickled):
    forgets = True


@pytest.mark.parametrize(("member", "state"), [(Pickled, "ok"), (Forgetful, "failed")])
def test_a_member_that_pickles_itself_is_no_alarm_and_one_that_forgets_is(member, state):
    algorithm = pt.pbt(pt.Space(lr=pt.Uniform(0.1, 1)), population=3, interval=2)
    found = pt.check(pt.Experiment(algorithm, member, stop=pt.steps(8)), seconds=20)
    assert next(each.state for each in found.checks if each.name == "save and load") == state, found
