"""TRL's SFTTrainer, which is a `Trainer`, in the same member: the laws of every adapter."""

from __future__ import annotations

import pytest

pytest.importorskip("trl")
pytestmark = pytest.mark.heavy

from tiny_sft import Writer  # noqa: E402

from poptrain.testing import AdapterContract  # noqa: E402

FIRST = {"lr": 1e-2, "beta1": 0.8, "weight_decay": 0.1, "batch_size": 16, "resid_pdrop": 0.1, "max_grad_norm": 1.0}
SECOND = {"lr": 3e-3, "beta1": 0.95, "weight_decay": 0.01, "batch_size": 8, "resid_pdrop": 0.3, "max_grad_norm": 0.5}


class TestContract(AdapterContract):
    steps = 2

    def member(self):
        return Writer

    def values(self):
        return FIRST, SECOND


def test_it_learns_and_counts_tokens_over_intervals_as_one_training_does():
    whole, parts = Writer(FIRST, 5), Writer(FIRST, 5)
    for member in (whole, parts):
        member.set_budget(12)
    first = parts.train(FIRST, 4)
    parts.train(FIRST, 4)
    found, expected = parts.train(FIRST, 4), whole.train(FIRST, 12)
    assert found == expected and found["eval_num_tokens"] == 3 * first["eval_num_tokens"]
    assert found["eval_loss"] < first["eval_loss"]
