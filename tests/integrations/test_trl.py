"""TRL's trainers, of which each is a `Trainer`, in the same member: the laws of every adapter."""

from __future__ import annotations

import pytest

pytest.importorskip("trl")
pytestmark = pytest.mark.heavy

from going_on import check_goes_on  # noqa: E402
from tiny_sft import Preferring, Rewarded, Writer  # noqa: E402

from poptrain.testing import AdapterContract  # noqa: E402

FIRST = {"lr": 1e-2, "beta1": 0.8, "weight_decay": 0.1, "batch_size": 16, "resid_pdrop": 0.1, "max_grad_norm": 1.0}
SECOND = {"lr": 3e-3, "beta1": 0.95, "weight_decay": 0.01, "batch_size": 8, "resid_pdrop": 0.3, "max_grad_norm": 0.5}


class TestContract(AdapterContract):
    """Four laws are about the member, whatever its trainer is; `test_transformers` has them, and they take long here."""

    steps = 2
    test_every_task_of_a_run_with_copies_trains_with_its_own_values = None
    test_members_that_wait_are_not_in_memory = None
    test_members_side_by_side_train_as_if_alone = None
    test_nothing_of_the_old_member_survives = None

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


@pytest.mark.parametrize("kind", [Rewarded, Preferring])
def test_trainers_that_sample_or_compare_go_on_exactly(kind, tmp_path):
    """GRPO draws its own texts, and DPO keeps a second model; a resumed member and a copy are as if nothing had happened."""
    old, new = {"lr": 1e-2, "beta": 0.1}, {"lr": 3e-2, "beta": 0.3}

    def member(hp, seed):
        made = kind(hp, seed)
        made.set_budget(8)
        return made

    _, copied = check_goes_on(member, old, new, tmp_path)
    assert copied.effective(new) == {"optimizer[0].lr": 3e-2, "optimizer[1].lr": 3e-2, "args.beta": 0.3}
