"""Mistakes of the user's training code: each is answered where it was made, in the user's words."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import poptrain as pt
from poptrain.core.errors import RunFailed
from poptrain.executors.outcome import as_number
from poptrain.trainable import as_trainable

LR = pt.Space(lr=pt.Uniform(0, 1))


class Good:
    def __init__(self, hp, seed):
        self.weight = 0.0

    def train(self, hp, steps):
        self.weight += hp["lr"]
        return {"score": self.weight}

    def save(self, directory):
        np.save(directory / "weight.npy", self.weight)

    def load(self, directory):
        self.weight = np.load(directory / "weight.npy")


def fails(trainable, space=LR):
    with pytest.raises(RunFailed) as error, pytest.warns(pt.errors.RunWarning):
        pt.run(pt.pbt(space, population=2, interval=1), trainable, stop=pt.steps(4), progress=False)
    return str(error.value)


class WithoutBeginning:
    train, save, load = Good.train, Good.save, Good.load


class WithoutSeed(Good):
    def __init__(self, hp):
        pass


class WithoutSteps(Good):
    def train(self, hp):
        pass


class WithoutDirectory(Good):
    def save(self):
        pass


@pytest.mark.parametrize(
    ("trainable", "says"),
    [
        (WithoutBeginning, "lacks __init__"),
        (WithoutSeed, r"WithoutSeed.__init__\(self, hp\): expected the arguments \(self, hp, seed\)"),
        (WithoutSteps, r"WithoutSteps.train\(self, hp\): expected the arguments \(self, hp, steps\)"),
        (WithoutDirectory, r"WithoutDirectory.save\(self\): expected the arguments \(self, directory\)"),
        (partial(Good), "a partial of the class Good, expected a class"),
    ],
)
def test_a_class_that_cannot_be_called_as_documented_is_refused_before_training(trainable, says):
    with pytest.raises(pt.UsageError, match=says):
        as_trainable(trainable)


def test_the_place_of_an_error_is_the_users_line_not_the_librarys():
    class Saves(Good):
        def save(self, directory):
            np.load(directory)

    text = fails(Saves)
    assert "(test_users_mistakes.py:" in text and "name a file in it, such as directory / 'state'" in text


def test_an_error_outside_the_users_code_names_no_line_of_this_package():
    text = fails(lambda carry, hp, steps, seed: ({1, 2}, {"score": hp["lr"]}))
    assert "set cannot be stored exactly" in text and ".py:" not in text


def test_a_name_with_dots_is_answered_with_how_it_is_read():
    def train(carry, hp, steps, seed):
        return 0, {"score": hp["optimizer.lr"]}

    assert "names with dots are nested: write hp['optimizer']['lr']" in fails(train, pt.Space(optimizer={"lr": pt.Uniform(0, 1)}))


def test_a_function_is_not_asked_for_its_load():
    def diverging(carry, hp, steps, seed):
        return 1, {"score": 1.0 if carry is None else float("nan")}

    text = fails(diverging)
    assert "does train() continue from a carry" in text and "load()" not in text


@pytest.mark.heavy
def test_every_floating_type_of_torch_is_a_number():
    torch = pytest.importorskip("torch")
    for kind in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        assert as_number(torch.tensor(0.5, dtype=kind)) == 0.5
