"""What a user of Lightning has already: a module, and data."""

import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.utils.data import TensorDataset

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
rows = TensorDataset(X, (X[:, 0] > X[:, 1]).long())


class Net(LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr, self.net = lr, nn.Linear(6, 2)

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, index):
        self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.lr)
