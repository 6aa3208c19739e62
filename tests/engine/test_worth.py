"""Is a schedule better than constant values? A verdict over pairs of fresh seeds, on problems where the answer is known."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

import poptrain as pt

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e0))


def moving(carry, hp, steps, seed):
    """A large rate is right for the first 20 steps, and a small one after them."""
    t, value = carry or (0, 0.0)
    for _ in range(steps):
        value += 4 - abs(np.log10(hp["lr"]) - (0.0 if t < 20 else -3.0))
        t += 1
    return (t, value), {"score": value + 0.1 * float(np.random.default_rng(seed).normal())}


def falling(carry, hp, steps, seed):
    carry, metrics = moving(carry, hp, steps, seed)
    return carry, {"score": -metrics["score"]}


def run_of(train, mode="max", pieces=((0, {"lr": 1.0}), (20, {"lr": 1e-3}))):
    return pt.run(pt.schedule_replay([list(pieces)], interval=10), train, stop=pt.steps(40), mode=mode)


@pytest.mark.heavy
@pytest.mark.parametrize(("train", "mode"), [(moving, "max"), (falling, "min")])
def test_a_schedule_that_follows_the_optimum_beats_its_constants(train, mode):
    found = pt.schedule_worth(run_of(train, mode), seeds=6)
    assert found.steps == 40 and len(found.scores) == len(found.final.scores) == 6
    for each in (found.final, found.constant):
        assert each.wins == 6 and each.low > 0 and each.p < 0.05 and each.verdict.startswith("The schedule beats")
    assert found.final.hparams == {"lr": 1e-3}


@pytest.mark.heavy
def test_a_schedule_that_turns_the_wrong_way_is_worse_than_constants():
    found = pt.schedule_worth(run_of(moving, pieces=((0, {"lr": 1e-3}), (20, {"lr": 1.0}))), seeds=6)
    for each in (found.final, found.constant):
        assert each.losses == 6 and each.high < 0 and each.verdict.startswith("The schedule is worse")


def test_a_constant_schedule_is_the_same_as_itself():
    found = pt.schedule_worth(run_of(moving, pieces=((0, {"lr": 0.1}),)), seeds=6)
    assert found.final.difference == 0 and "the same" in found.final.verdict and found.final.scores == found.scores


def test_a_constant_that_fails_is_a_low_score_and_no_error():
    def train(carry, hp, steps, seed):
        if carry is None and hp["lr"] < 0.01:
            raise RuntimeError("diverged")
        return moving(carry, hp, steps, seed)

    found = pt.schedule_worth(run_of(train), seeds=6)
    assert found.final.losses == 0 and all(np.isfinite(found.final.scores))


def test_a_person_who_interrupts_one_training_in_a_notebook_interrupts_all(monkeypatch):
    trained = []

    def train(carry, hp, steps, seed):
        trained.append(seed)
        if len(trained) == 9:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        return moving(carry, hp, steps, seed)

    run = run_of(moving)
    for module in ("loop", "again"):
        monkeypatch.setattr(f"poptrain.engine.{module}.interactive", lambda: True)
    with pytest.raises(pt.errors.Suspended, match="schedule_worth interrupted"):
        pt.schedule_worth(run, train, seeds=6)
    assert len(trained) == 9


def test_too_few_seeds_and_a_missing_trainable_are_refused():
    run = run_of(moving)
    with pytest.raises(pt.errors.UsageError, match="seeds=3"):
        pt.schedule_worth(run, seeds=3)
    with pytest.raises(pt.errors.UsageError, match="trainable"):
        pt.schedule_worth(run.schedule())
