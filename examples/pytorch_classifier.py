"""A PyTorch training loop as a class: the form for people who have one already. Needs `pip install torch`.

    poptrain run examples/pytorch_classifier.py

Two rules make it right: `train` applies the hyperparameters every time, because a clone loads its parent's optimiser and
with it the parent's learning rate; and `save` keeps the optimiser, not only the model.
"""

import torch
from torch import nn

import poptrain as pt

torch.manual_seed(0)
X = torch.randn(2000, 20)
Y = (X[:, 0] * X[:, 1] + 0.3 * torch.randn(2000) > 0).long()


class Classifier:
    def __init__(self, hp, seed):
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=hp["lr"], momentum=hp["momentum"])

    def train(self, hp, steps):
        for group in self.optimizer.param_groups:
            group.update(lr=hp["lr"], momentum=hp["momentum"])
        for _ in range(steps):  # one step is one pass over the data
            for x, y in zip(X[:1500].split(50), Y[:1500].split(50), strict=True):
                self.optimizer.zero_grad()
                nn.functional.cross_entropy(self.model(x), y).backward()
                self.optimizer.step()
        with torch.no_grad():
            return {"accuracy": (self.model(X[1500:]).argmax(1) == Y[1500:]).float().mean()}

    def save(self, directory):
        torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}, directory / "state.pt")

    def load(self, directory):
        state = torch.load(directory / "state.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), momentum=pt.Uniform(0.8, 0.99))

experiment = pt.Experiment(
    algorithm=pt.pbt(space, population=8, interval=1),
    trainable=Classifier,
    metric="accuracy",
    stop=pt.steps(10),
)

if __name__ == "__main__":
    run = pt.run(experiment.algorithm, Classifier, metric="accuracy", stop=pt.steps(10))
    print(f"accuracy {run.best.score:.3f} with {run.best.hparams}")
