"""A Lightning module on scikit-learn's digits, tuned by PBT. It needs `pip install 'poptrain[lightning]' scikit-learn`.

    poptrain run examples/lightning_digits.py

The module is an ordinary one. `LightningMember` is what it takes to tune it.
"""

import torch
from lightning.pytorch import LightningModule
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import poptrain as pt
from poptrain.integrations.lightning import LightningMember

pixels, labels = load_digits(return_X_y=True)
order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
images = (torch.tensor(pixels, dtype=torch.float32)[order] / 16 - 0.5).view(-1, 1, 8, 8)
digits = torch.tensor(labels)[order]
training, held_out = TensorDataset(images[:1200], digits[:1200]), TensorDataset(images[1200:], digits[1200:])


class Net(LightningModule):
    def __init__(self, lr, weight_decay, dropout):
        super().__init__()
        self.save_hyperparameters()
        convolutions = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()]
        self.net = nn.Sequential(*convolutions, nn.Flatten(), nn.Dropout(dropout), nn.Linear(512, 10))

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, index):
        logits = self.net(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(logits, batch[1]))
        self.log("val_accuracy", (logits.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), self.hparams.lr, weight_decay=self.hparams.weight_decay)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.max_epochs)]


class Digits(LightningMember):
    def make(self, hp, seed):
        data = DataLoader(training, hp["batch_size"], shuffle=True), DataLoader(held_out, 600)
        return Net(hp["lr"], hp["weight_decay"], hp["dropout"]), data

    def options(self, hp):
        return {"accelerator": "cpu"}


experiment = pt.Experiment(
    algorithm=pt.pbt(
        pt.Space(
            lr=pt.LogUniform(1e-4, 1e-1),
            weight_decay=pt.LogUniform(1e-4, 1e-1),
            dropout=pt.Uniform(0.0, 0.5),
            batch_size=pt.Ordinal(16, 32, 64),
        ),
        population=4,
        interval=2,
    ),
    trainable=Digits,
    metric="val_loss",
    mode="min",
    stop=pt.steps(12),
)

if __name__ == "__main__":
    run = pt.run(experiment)
    print(f"loss {run.best.score:.3f} with {run.best.hparams}")
