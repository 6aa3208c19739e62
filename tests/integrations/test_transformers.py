"""Hugging Face's Trainer as a member: the laws of every adapter, and what is special about it."""

from __future__ import annotations

import gc

import pytest

pytest.importorskip("transformers")
pytestmark = pytest.mark.heavy

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from tiny_text import Classifier  # noqa: E402

import poptrain as pt  # noqa: E402
from poptrain.testing import AdapterContract  # noqa: E402

FIRST = {"lr": 1e-2, "beta1": 0.8, "weight_decay": 0.1, "batch_size": 16, "hidden_dropout_prob": 0.1, "max_grad_norm": 1.0}
SECOND = {"lr": 3e-3, "beta1": 0.95, "weight_decay": 0.01, "batch_size": 8, "hidden_dropout_prob": 0.3, "max_grad_norm": 0.5}


class TestContract(AdapterContract):
    steps = 2

    def member(self):
        return Classifier

    def values(self):
        return FIRST, SECOND

    def derived(self, member):
        trainer = member.trainer
        optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
        dropouts = [module.p for module in trainer.model.modules() if isinstance(module, torch.nn.Dropout)]
        return {"rates": [group["lr"] for group in optimizer.param_groups], "dropouts": dropouts}


def test_intervals_train_as_one_call_of_the_trainer_does():
    """Weights, rates and the order of the data: three intervals of two steps are six steps of an ordinary training."""
    hp = {**FIRST, "hidden_dropout_prob": 0.2}
    whole, parts = Classifier(hp, 5), Classifier(hp, 5)
    for member in (whole, parts):
        member.set_budget(6)
    expected = whole.train(hp, 6)
    for _ in range(3):
        found = parts.train(hp, 2)
    assert found["weights"] == expected["weights"] and found["score"] == expected["score"]


def test_schedules_span_the_whole_training():
    member = Classifier(FIRST, 1)
    member.set_budget(8)
    member.train(FIRST, 2)
    assert [group["lr"] for group in member.trainer.optimizer.param_groups] == [pytest.approx(FIRST["lr"] * 6 / 8)] * 2
    member.train(SECOND, 2)
    assert [group["lr"] for group in member.trainer.optimizer.param_groups] == [pytest.approx(SECOND["lr"] * 4 / 8)] * 2


def test_other_members_draw_other_numbers_and_see_other_orders():
    one, other = Classifier(FIRST, 1), Classifier(FIRST, 2)
    assert one.train(FIRST, 1)["weights"] != other.train(FIRST, 1)["weights"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda trainer: None, "make returned NoneType, expected a transformers.Trainer"),
        (lambda trainer: setattr(trainer, "model_init", 1) or trainer, "model_init makes a new model in every interval"),
        (
            lambda trainer: setattr(trainer.args, "load_best_model_at_end", True) or trainer,
            "load_best_model_at_end would train on",
        ),
        (lambda trainer: setattr(trainer, "eval_dataset", None) or trainer, "the Trainer has no eval_dataset"),
        (lambda trainer: setattr(trainer.args, "max_steps", 1) or trainer, "the Trainer ended at step 1 of 2"),
    ],
)
def test_what_cannot_be_continued_is_refused(change, words):
    class Bad(Classifier):
        def make(self, hp, seed):
            return change(super().make(hp, seed))

    with pytest.raises(pt.UsageError, match=words):
        Bad(FIRST, 1).train(FIRST, 2)


def test_the_callback_that_stops_the_training_is_named():
    class Early(Classifier):
        def make(self, hp, seed):
            trainer = super().make(hp, seed)
            arguments = {"eval_strategy": "steps", "eval_steps": 1, "metric_for_best_model": "loss", "greater_is_better": True}
            for name, value in arguments.items():
                setattr(trainer.args, name, value)
            trainer.add_callback(transformers.EarlyStoppingCallback(1, early_stopping_threshold=10.0))
            return trainer

    words = r"ended at step 2 of 8\. EarlyStoppingCallback has set control.should_training_stop in on_evaluate\. Remove it"
    with pytest.raises(pt.UsageError, match=words):
        Early(FIRST, 1).train(FIRST, 8)


def test_a_hyperparameter_without_effect_is_named():
    hp = {**FIRST, "warm_up": 3}
    with pytest.raises(pt.UsageError, match=r"Classifier has no use for 'warm_up'"):
        Classifier(hp, 1).train(hp, 1)


def test_a_value_that_a_callback_changes_is_named():
    class Overwritten(Classifier):
        def make(self, hp, seed):
            trainer = super().make(hp, seed)

            class Callback(transformers.TrainerCallback):
                def on_step_end(self, args, state, control, optimizer, **live):
                    optimizer.param_groups[0]["weight_decay"] = 0.5

            trainer.add_callback(Callback())
            return trainer

    with pytest.raises(pt.UsageError, match=r"weight_decay=0.1, but optimizer\[0\].weight_decay is 0.5"):
        Overwritten(FIRST, 1).train(FIRST, 1)


def test_another_kind_of_optimiser_is_refused_with_the_fix(tmp_path):
    class Choosing(Classifier):
        def make(self, hp, seed):
            trainer = super().make(hp, seed)
            trainer.args.optim = hp["optim"]
            return trainer

    member, copied = Choosing({**FIRST, "optim": "adamw_torch"}, 1), Choosing({**FIRST, "optim": "sgd"}, 2)
    member.train({**FIRST, "optim": "adamw_torch"}, 1)
    member.save(tmp_path)
    copied.load(tmp_path)
    with pytest.raises(pt.UsageError, match="state of AdamW, but a member with these values has SGD.*static=True"):
        copied.train({**FIRST, "optim": "sgd"}, 1)


def test_a_trainer_leaves_nothing_behind():
    member = Classifier(FIRST, 1)
    member.train(FIRST, 1)
    directory = member._directory
    assert directory.exists()
    member.close()
    assert not directory.exists()


def test_a_checkpoint_links_the_weights_and_nothing_changes_it_later(tmp_path):
    member, content = Classifier(FIRST, 1), {}
    for name in ("a", "b"):
        member.train(FIRST, 2)
        (tmp_path / name).mkdir()
        member.save(tmp_path / name)
        content[name] = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    other = Classifier(SECOND, 2)
    other.load(tmp_path / "a")
    other.train(SECOND, 2)
    assert content["a"] == {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    weights = tmp_path / "b" / "model.safetensors"
    if weights.stat().st_dev == member._directory.stat().st_dev:
        assert weights.samefile(member._checkpoint / "model.safetensors")


def test_a_trainer_that_stays_is_not_slowed_down_by_a_search_for_garbage(monkeypatch):
    """A new trainer frees what is older; one that has trained before has nothing to free. Nothing stays set aside."""
    aside, collect = [], gc.collect

    def looking(*generation):
        aside.append(gc.get_freeze_count() > 0)
        return collect(*generation)

    monkeypatch.setattr(gc, "collect", looking)
    member = Classifier(FIRST, 1)
    for values in (FIRST, FIRST, SECOND):
        member.train(values, 1)
    assert aside == [False, True, False] and gc.get_freeze_count() == 0


def test_a_trainer_that_fails_leaves_nothing_set_aside():
    member = Classifier(FIRST, 1)
    member.train(FIRST, 1)
    (member._checkpoint / "optimizer.pt").write_bytes(b"")
    with pytest.raises(Exception):  # noqa: B017  # whatever PyTorch raises for a damaged file
        member.train(FIRST, 1)
    assert gc.get_freeze_count() == 0


def test_a_rate_that_was_read_and_that_the_optimiser_ignores_is_named():
    class Ignores(Classifier):
        def make(self, hp, seed):
            trainer = super().make(dict(hp), seed)
            trainer.args.learning_rate = 0.01 if type(self) is Ignores else hp["lr"] / 2
            return trainer

    class Half(Ignores):
        pass

    hp = {**FIRST, "lr": 0.3}
    with pytest.raises(pt.UsageError, match="Ignores does not train .* lr=0.3 was read, but the optimiser is the same"):
        Ignores(hp, 1).train(hp, 1)
    Half(hp, 1).train(hp, 1)


def test_data_with_a_generator_of_their_own_are_refused():
    class Noisy(torch.utils.data.Dataset):
        def __init__(self, rows):
            self.rows, self.random = rows, np.random.default_rng(3)

        def __len__(self):
            return len(self.rows)

        def __getitem__(self, index):
            return self.rows[int(self.random.integers(len(self.rows)))]

    class Drawing(Classifier):
        def make(self, hp, seed):
            trainer = super().make(hp, seed)
            trainer.train_dataset = torch.utils.data.Subset(Noisy(trainer.train_dataset), range(16))
            return trainer

    with pytest.raises(pt.UsageError, match="Drawing: train_dataset.dataset.random is a random generator of the data alone"):
        Drawing(FIRST, 1).train(FIRST, 1)
