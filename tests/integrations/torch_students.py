"""Students and teachers in PyTorch, of any width. A module of its own, so that workers import it by name."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import poptrain as pt
from poptrain.integrations.torch import TorchMember, imitation

torch.set_num_threads(1)
X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()
SPACE = pt.Space(lr=pt.LogUniform(1e-3, 0.5), dropout=pt.Uniform(0.0, 0.5), width=pt.Ordinal(2, 8, 32, static=True))


class Student(TorchMember):
    def __init__(self, hp, seed):
        self.model = nn.Sequential(nn.Linear(4, hp["width"]), nn.ReLU(), nn.Dropout(hp["dropout"]), nn.Linear(hp["width"], 3))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=hp["lr"], momentum=0.9)

    def train(self, hp, steps):
        return self.fit(steps)

    def distill(self, teacher, hp, steps, progress):
        return self.fit(steps, teacher, progress)

    def fit(self, steps, teacher=None, progress=None):
        alpha = 0.0
        for step in range(steps):
            chosen = torch.randint(0, 64, (16,))
            logits = self.model(X[chosen])
            loss = cross_entropy(logits, Y[chosen])
            if teacher is not None:
                alpha = pt.teacher_weight(progress, step / steps)
                loss += alpha * imitation(logits, teacher.model(X[chosen]))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        with torch.no_grad():
            return {"score": -cross_entropy(self.model(X), Y), "alpha": alpha}


def algorithm():
    return pt.bg_pbt(SPACE, population=4, interval=5, generations=pt.Generations(distill=10, every=20, most=2))
