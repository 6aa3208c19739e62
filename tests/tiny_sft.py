"""A tiny language model with its own words and texts, for the tests of TRL's trainers; nothing comes from a hub."""

from __future__ import annotations

import tempfile
from functools import cache

from datasets import Dataset, disable_progress_bars
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

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


def language_model(dropout: float) -> GPT2LMHeadModel:
    sizes = {"n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2}
    ids = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0, "tie_word_embeddings": False}
    return GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, resid_pdrop=dropout, **sizes, **ids))


class Writer(TrainerMember):
    def make(self, hp, seed):
        model = language_model(hp["resid_pdrop"])
        options = {"lr_scheduler_type": "linear", "report_to": "none", "use_cpu": True, "bf16": False, "max_length": 16}
        arguments = SFTConfig("unused", weight_decay=hp["weight_decay"], max_steps=12, **options)
        data = {"train_dataset": TRAINING, "eval_dataset": HELD_OUT, "processing_class": TOKENIZER}
        return SFTTrainer(model, arguments, **data)

    def evaluate(self):
        metrics = super().evaluate()
        weights = float(sum(p.detach().double().abs().sum() for p in self.trainer.model.parameters()))
        return {**metrics, "score": -metrics["eval_loss"], "weights": weights}


@cache
def stored_model() -> str:
    """Returns the directory of a model: trainers with a reference model load it from there."""
    directory = tempfile.mkdtemp(prefix="tiny-model-")
    language_model(0.0).save_pretrained(directory)
    TOKENIZER.save_pretrained(directory)
    return directory


class Tuned(TrainerMember):
    """From a stored model, with the sum of all weights as its only metric."""

    options = {"report_to": "none", "use_cpu": True, "bf16": False, "max_steps": 8, "per_device_train_batch_size": 4}

    def evaluate(self):
        return {"weights": float(sum(p.detach().double().abs().sum() for p in self.trainer.model.parameters()))}


class Rewarded(Tuned):
    """It draws texts, and is rewarded for different words."""

    def make(self, hp, seed):
        prompts = Dataset.from_dict({"prompt": [f"w{number} w{number + 1}" for number in range(2, 18)]})
        arguments = GRPOConfig("unused", beta=hp["beta"], num_generations=4, max_completion_length=6, **self.options)
        reward = lambda completions, **rest: [float(len(set(text.split()))) for text in completions]  # noqa: E731
        model = GPT2LMHeadModel.from_pretrained(stored_model())
        return GRPOTrainer(model, reward, args=arguments, train_dataset=prompts, processing_class=TOKENIZER)


class Preferring(Tuned):
    """It learns which of two texts is better, against a reference model."""

    def make(self, hp, seed):
        texts = {"prompt": "w{} w3", "chosen": "w{} w5", "rejected": "w{} w7"}
        pairs = Dataset.from_dict({name: [text.format(number) for number in range(2, 18)] for name, text in texts.items()})
        arguments = DPOConfig("unused", beta=hp["beta"], max_length=16, **self.options)
        model = GPT2LMHeadModel.from_pretrained(stored_model())
        return DPOTrainer(model, args=arguments, train_dataset=pairs, processing_class=TOKENIZER)
