"""A PyTorch training loop, tuned by PBT: for users who already have such a loop. It needs `pip install 'poptrain[torch]'`.

    poptrain run examples/pytorch_classifier.py

`TorchMember` applies the hyperparameters to the optimiser after every load, checks them there, and saves the complete state.
"""

import torch
from torch import nn

import poptrain as pt
from poptrain.integrations.torch import TorchMember

rng = torch.Generator().manual_seed(0)
X = torch.randn(2000, 20, generator=rng)
Y = (X[:, 0] * X[:, 1] + 0.3 * torch.randn(2000, generator=rng) > 0).long()


class Classifier(TorchMember):
    def __init__(self, hp, seed):
        self.model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=hp["lr"], momentum=hp["momentum"])

    def train(self, hp, steps):
        for _ in range(steps):  # one step is one pass over the data
            for x, y in zip(X[:1500].split(50), Y[:1500].split(50), strict=True):
                self.optimizer.zero_grad()
                nn.functional.cross_entropy(self.model(x), y).backward()
                self.optimizer.step()
        with torch.no_grad():
            return {"accuracy": (self.model(X[1500:]).argmax(1) == Y[1500:]).float().mean()}


space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), momentum=pt.Uniform(0.8, 0.99))

experiment = pt.Experiment(
    algorithm=pt.pbt(space, population=8, interval=1),
    trainable=Classifier,
    metric="accuracy",
    stop=pt.steps(10),
)

if __name__ == "__main__":
    run = pt.run(experiment)
    print(f"accuracy {run.best.score:.3f} with {run.best.hparams}")
