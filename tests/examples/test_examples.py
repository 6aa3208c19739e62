"""The examples run as they are, and do what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from poptrain.engine.experiment import load
from poptrain.engine.loop import execute
from poptrain.testing import check_trainable

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_quickstart_learns():
    experiment = load(EXAMPLES / "quickstart.py")
    run = execute(experiment, None)
    assert run.history.n == 8 * 20
    assert run.best.score > -0.25  # chance is -0.69
    check_trainable(experiment.trainable, {"lr": 0.1, "decay": 1e-3}, metric="log_likelihood")


@pytest.mark.heavy
def test_pytorch_classifier_learns_and_keeps_all_of_its_state():
    pytest.importorskip("torch")
    experiment = load(EXAMPLES / "pytorch_classifier.py")
    run = execute(experiment, None)
    assert run.best.score > 0.6
    check_trainable(experiment.trainable, {"lr": 0.05, "momentum": 0.9}, metric="accuracy")
