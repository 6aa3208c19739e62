"""A tiny language model with its own words and texts, for the test of TRL's `SFTTrainer`; nothing comes from a hub."""

from __future__ import annotations

from datasets import Dataset, disable_progress_bars
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from poptrain.integrations.transformers import TrainerMember

WORDS, LENGTH = 40, 9
disable_progress_bars()


def texts(first: int, rows: int) -> Dataset:
    """Returns sentences in which each word follows from the one before."""
    numbers = [[2 + (first + row + 3 * place) % (WORDS - 2) for place in range(LENGTH - 1)] for row in range(rows)]
    return Dataset.from_dict({"text": [" ".join(f"w{number}" for number in row) for row in numbers]})


def tokenizer() -> PreTrainedTokenizerFast:
    words = {"<pad>": 0, "<eos>": 1, **{f"w{number}": number for number in range(2, WORDS)}}
    made = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>")


TRAINING, HELD_OUT, TOKENIZER = texts(0, 48), texts(7, 16), tokenizer()


class Writer(TrainerMember):
    def make(self, hp, seed):
        sizes = {"n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2}
        ids = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0, "tie_word_embeddings": False}
        model = GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, resid_pdrop=hp["resid_pdrop"], **sizes, **ids))
        options = {"lr_scheduler_type": "linear", "report_to": "none", "use_cpu": True, "bf16": False, "max_length": 16}
        arguments = SFTConfig("unused", weight_decay=hp["weight_decay"], max_steps=12, **options)
        data = {"train_dataset": TRAINING, "eval_dataset": HELD_OUT, "processing_class": TOKENIZER}
        return SFTTrainer(model, arguments, **data)

    def evaluate(self):
        metrics = super().evaluate()
        weights = float(sum(p.detach().double().abs().sum() for p in self.trainer.model.parameters()))
        return {**metrics, "score": -metrics["eval_loss"], "weights": weights}
