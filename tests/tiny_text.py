"""A tiny text classifier with its own data, for the tests of Hugging Face's Trainer and of TRL; nothing comes from a hub."""

from __future__ import annotations

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from poptrain.integrations.transformers import TrainerMember

ROWS, LENGTH, WORDS = 48, 8, 40


def rows(seed: int) -> list[dict[str, torch.Tensor]]:
    """Returns sentences of random words; the label says whether a word below 10 is among the first four."""
    words = torch.randint(2, WORDS, (ROWS, LENGTH), generator=torch.Generator().manual_seed(seed))
    labels = (words[:, :4] < 10).any(1).long()
    return [{"input_ids": w, "labels": y} for w, y in zip(words, labels, strict=True)]


TRAINING, HELD_OUT = rows(0), rows(1)


class Classifier(TrainerMember):
    def make(self, hp, seed):
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        dropout = hp["hidden_dropout_prob"]
        config = BertConfig(vocab_size=WORDS, max_position_embeddings=LENGTH, hidden_dropout_prob=dropout, **sizes)
        options = {"lr_scheduler_type": "linear", "report_to": "none", "use_cpu": True, "per_device_eval_batch_size": ROWS}
        arguments = TrainingArguments("unused", weight_decay=hp["weight_decay"], max_steps=12, **options)
        return Trainer(BertForSequenceClassification(config), arguments, train_dataset=TRAINING, eval_dataset=HELD_OUT)

    def evaluate(self):
        metrics = super().evaluate()
        weights = float(sum(p.detach().double().abs().sum() for p in self.trainer.model.parameters()))
        return {"score": -metrics["eval_loss"], "weights": weights, "random": float(torch.rand(()))}
