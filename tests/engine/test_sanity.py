"""Settings that work and cannot be meant are warned about before training; what may be meant is not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import poptrain as pt
from poptrain.core.errors import RunWarning
from poptrain.engine.sanity import doubts
from poptrain.testing import Quadratic, quadratic

LR = pt.LogUniform(1e-4, 1e-1)
SPACE = pt.Space(lr=LR)
PBT = pt.pbt(SPACE, population=4, interval=5)


def about(trainable=quadratic, algorithm=PBT, steps=50, **options):
    return doubts(pt.Experiment(algorithm, trainable, stop=pt.steps(steps), **options))


def reads_all(carry, hp, steps, seed):
    return 0, {"score": hp["lr"] + hp.get("momentum", 0.0)}


def reads_lr(carry, hp, steps, seed):
    return 0, {"score": hp["lr"]}


def unpacks(carry, hp, steps, seed):
    return 0, {"score": sum(dict(**hp).values())}


class Adam:
    def __init__(self, lr):
        self.lr = lr


class Forgets(Quadratic):
    def __init__(self, hp, seed):
        super().__init__({"lr": hp["lr"]}, seed)
        self.optimizer = Adam(hp["lr"])

    def save(self, directory):
        np.save(directory / "theta.npy", self.theta)


class Remembers(Forgets):
    def __init__(self, hp, seed):
        self.optimizer = Adam(hp["lr"])

    def save(self, directory):
        np.save(directory / "optimizer.npy", self.optimizer.lr)


class SavesItself(Forgets):
    def __init__(self, hp, seed):
        self.optimizer = Adam(hp["lr"])

    def save(self, directory):
        self.write(directory)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (lambda: about(algorithm=pt.pbt(SPACE, population=1, interval=5)), "the population is 1, and a copy needs two members"),
        (lambda: about(steps=5), "the interval is 5 steps and the budget 5"),
        (lambda: about(algorithm=pt.pbt(SPACE, population=4, interval=5, warmup=90)), "the warmup is 90 steps"),
        (lambda: about(metric="val_loss"), "'val_loss' suggests that less is better, but mode is 'max'"),
        (lambda: about(metric="accuracy", mode="min"), "is mode='max' meant?"),
        (lambda: about(algorithm=pt.pbt(pt.Space(lr=LR, width=pt.Uniform(1, 1)), interval=5)), "'width' has only one value"),
        (lambda: about(algorithm=pt.pbt(pt.Space(lr=LR, kind=pt.Choice("a")), interval=5)), "'kind' has only one value"),
        (lambda: about(reads_lr, pt.pbt(pt.Space(lr=LR, momentum=LR), interval=5)), "never reads the hyperparameter 'momentum'"),
        (lambda: about(Forgets), "Forgets.save() does not mention self.optimizer"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_meant_is_named(found, words):
    assert any(words in text for text in found()), found()


@pytest.mark.parametrize("trainable", [quadratic, Quadratic, reads_all, unpacks, Remembers, SavesItself])
def test_what_may_be_meant_is_not(trainable):
    two = pt.Space(lr=LR, momentum=LR)
    algorithm = pt.pbt(two, interval=5) if trainable in (reads_all, unpacks) else PBT
    assert about(trainable, algorithm) == []
    assert about(algorithm=pt.random_search(SPACE, interval=50)) == [], "random search is not expected to copy"


def warned(*arguments, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pt.run(*arguments, progress=False, **options)
    return [str(each.message) for each in caught if each.category is RunWarning]


def test_a_run_warns_before_it_trains():
    seen = []

    def train(carry, hp, steps, seed):
        seen.append(1)
        return quadratic(carry, hp, steps, seed)

    with warnings.catch_warnings():
        warnings.simplefilter("error", RunWarning)
        pt.run(pt.pbt(SPACE, population=1, interval=5), train, stop=pt.steps(20), progress=False)
    assert "no member will ever copy" in warned(pt.pbt(SPACE, population=1, interval=5), train, stop=pt.steps(20))[0]


def test_a_run_whose_scores_only_get_worse_asks_about_the_mode():
    def train(carry, hp, steps, seed):
        carry, metrics = quadratic(carry, hp, steps, seed)
        return carry, {"value": 1.2 - metrics["score"]}

    assert "is mode='min' meant?" in warned(PBT, train, metric="value", stop=pt.steps(50))[-1]
    assert warned(PBT, train, metric="value", mode="min", stop=pt.steps(50)) == []
