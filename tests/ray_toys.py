"""Trainables for the tests of the Ray Tune scheduler: gradient ascent on 1 - x², as classes and as a function."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

from ray import tune

import poptrain as pt

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))


def train(carry, hp, steps, seed):
    """The same task as a poptrain trainable."""
    x = 1.0 if carry is None else carry
    for _ in range(steps):
        x -= 2 * hp["lr"] * x
    return x, {"score": 1 - x * x}


class Ascent(tune.Trainable):
    """Reports 1 - x² and the hyperparameter that it really used."""

    def setup(self, config):
        self.x, self.config = 1.0, config

    def reset_config(self, config):
        self.setup(config)
        return True

    def rate(self):
        return self.config["lr"]

    def step(self):
        self.x -= 2 * self.rate() * self.x
        return {"score": 1 - self.x * self.x, "used": self.rate(), "loss": self.x * self.x}

    def save_checkpoint(self, directory):
        Path(directory, "x").write_text(repr(self.x))

    def load_checkpoint(self, directory):
        self.x = float(Path(directory, "x").read_text())


class Nested(Ascent):
    """Has its rate inside, and must be given everything else as it was."""

    def rate(self):
        assert self.config["env"] == {"name": "toy", "sizes": [1, 2]} and self.config["optimizer"]["name"] == "sgd"
        return self.config["optimizer"]["lr"]


class Failing(Ascent):
    """The trial that was born with ``broken`` fails at every step."""

    def step(self):
        if self.config["broken"]:
            raise RuntimeError("planted")
        return super().step()


class Diverging(Ascent):
    """Scores NaN above a rate of 0.01."""

    def step(self):
        found = super().step()
        return {**found, "score": float("nan")} if self.rate() > 0.01 else found


class Flaky(Ascent):
    """Fails once, at the seventh step of the first life of each trial."""

    def step(self):
        found = super().step()
        mark = Path(self.config["marks"], self.trial_id)
        if self.iteration == 6 and not mark.exists():
            mark.write_text("")
            raise RuntimeError("planted, once")
        return found


def ascend(config):
    """The function form: a checkpoint with every third report."""
    x, begin = 1.0, 0
    checkpoint = tune.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as directory:
            x, begin = json.loads(Path(directory, "state").read_text())
    for epoch in range(begin + 1, 1000):
        x -= 2 * config["lr"] * x
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "state").write_text(json.dumps([x, epoch]))
            saved = tune.Checkpoint.from_directory(directory) if epoch % 3 == 0 else None
            tune.report({"score": 1 - x * x, "epoch": epoch, "used": config["lr"]}, checkpoint=saved)


def silent(config):
    """A function that never reports a checkpoint."""
    for _ in range(50):
        tune.report({"score": 0.0})


class Kill(tune.Callback):
    """Ends the driver without any cleaning up when a trial has come to the iteration in ``KILL_AT``."""

    def on_trial_result(self, iteration, trials, trial, result, **info):
        if result["training_iteration"] >= int(os.environ["KILL_AT"]):
            time.sleep(
                2
            )  # Ray writes its state in a thread, and not atomically: a state file torn by the kill cannot be restored
            os._exit(9)


class Climber:
    """The same task as a poptrain class."""

    def __init__(self, hp, seed):
        self.x = 1.0

    def train(self, hp, steps):
        self.x, metrics = train(self.x, hp, steps, 0)
        return metrics

    def save(self, directory):
        Path(directory, "x").write_text(repr(self.x))

    def load(self, directory):
        self.x = float(Path(directory, "x").read_text())


class Slow(Ascent):
    """Takes 20 ms a step."""

    def step(self):
        time.sleep(0.02)
        return super().step()
