"""Fine-tunes a small BERT with Hugging Face's Trainer, tuned by PBT. It needs `pip install 'poptrain[transformers]'`.

    poptrain run examples/huggingface_trainer.py

The task: from which package is a sentence of documentation, numpy, scipy or torch? The sentences come from the packages that
are installed. The base model comes from no hub: the first run trains it here, for a minute, to fill in hidden words.
"""

import importlib
import inspect
import re
from collections import Counter
from functools import cache
from pathlib import Path

import torch
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, Trainer, TrainingArguments

import poptrain as pt
from poptrain.integrations.transformers import TrainerMember

BASE = Path("runs/huggingface_base")
SOURCES = (("numpy", "numpy.linalg"), ("scipy.stats", "scipy.signal"), ("torch", "torch.nn"))
LENGTH, WORDS = 24, 2000
QUIET = {"report_to": "none", "use_cpu": True, "save_strategy": "no", "disable_tqdm": True, "logging_strategy": "no"}


@cache
def rows():
    """Returns rows of word numbers with their labels, in a fixed order; 0 fills up, 1 is an unknown word, 2 a hidden one."""
    texts = [(label, text) for label, names in enumerate(SOURCES) for name in names for text in documentation(name)]
    split = [(label, re.findall(r"[a-z]+", text.lower())[:LENGTH]) for label, text in texts]
    split = [(label, words) for label, words in split if len(words) > 7]
    common = Counter(word for _, words in split for word in words).most_common(WORDS - 3)
    number = {word: index + 3 for index, (word, _) in enumerate(common)}
    made = []
    for index in torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:4000]:
        label, words = split[index]
        ids = torch.tensor([number.get(word, 1) for word in words] + [0] * (LENGTH - len(words)))
        made.append({"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": torch.tensor(label)})
    return made[:3000], made[3000:]


def documentation(name):
    module = importlib.import_module(name)
    docs = {inspect.getdoc(getattr(module, each)) or "" for each in dir(module) if not each.startswith("_")}
    return sorted({sentence for doc in docs for sentence in re.split(r"\.\s|\n\n", doc)})


def hide_words(batch):
    """Hides a word in seven; the model learns to fill them in."""
    ids = torch.stack([row["input_ids"] for row in batch])
    hidden = (torch.rand(ids.shape) < 0.15) & (ids > 0)
    mask = torch.stack([row["attention_mask"] for row in batch])
    return {"input_ids": ids.masked_fill(hidden, 2), "attention_mask": mask, "labels": ids.masked_fill(~hidden, -100)}


def base():
    """Returns the directory of the base model, after training it if there is none."""
    if not (BASE / "config.json").exists():
        sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
        model = BertForMaskedLM(BertConfig(vocab_size=WORDS, max_position_embeddings=LENGTH, **sizes))
        options = {"per_device_train_batch_size": 32, "learning_rate": 1e-3, "max_steps": 400, **QUIET}
        Trainer(model, TrainingArguments(str(BASE), **options), data_collator=hide_words, train_dataset=rows()[0]).train()
        model.save_pretrained(BASE)
    return BASE


def accuracy(predictions):
    return {"accuracy": float((predictions.predictions.argmax(-1) == predictions.label_ids).mean())}


class Classifier(TrainerMember):
    def make(self, hp, seed):
        model = BertForSequenceClassification.from_pretrained(base(), num_labels=3, hidden_dropout_prob=hp["dropout"])
        arguments = TrainingArguments("unused", per_device_eval_batch_size=500, lr_scheduler_type="cosine", **QUIET)
        training, held_out = rows()
        return Trainer(model, arguments, train_dataset=training, eval_dataset=held_out, compute_metrics=accuracy)


space = pt.Space(
    lr=pt.LogUniform(1e-5, 1e-2),
    weight_decay=pt.LogUniform(1e-4, 1e-1),
    batch_size=pt.Ordinal(16, 32, 64),
    dropout=pt.Uniform(0.0, 0.4),
)

experiment = pt.Experiment(
    algorithm=pt.pbt(space, population=4, interval=30),
    trainable=Classifier,
    metric="eval_accuracy",
    stop=pt.steps(240),
)

if __name__ == "__main__":
    run = pt.run(experiment)
    print(f"accuracy {run.best.score:.3f} with {run.best.hparams}")
