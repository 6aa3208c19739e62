"""BG-PBT with PyTorch: networks of digits grow wider, and each new one learns from a narrow one that is good already.

    poptrain run examples/torch_students.py       # needs `pip install 'poptrain[torch]' scikit-learn`; half a minute on 2 cores

The width is static: a copy cannot change it. So the population changes it together. Students of other widths begin with new
weights, learn from the labels and from one of the best members, and the better ones take the place of all members. The data are
the 1,797 images of 8 × 8 pixels that scikit-learn carries; 400 of them are for training, 600 for the score.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import poptrain as pt
from poptrain.integrations.torch import TorchMember, imitation

torch.set_num_threads(1)  # for networks as small as these, more threads cost more than they bring
images, labels = load_digits(return_X_y=True)
X, Y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
TRAIN, VALID = slice(0, 400), slice(400, 1000)


class Digits(TorchMember):
    def __init__(self, hp, seed):
        self.model = nn.Sequential(nn.Linear(64, hp["width"]), nn.ReLU(), nn.Linear(hp["width"], 10))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=hp["lr"], momentum=0.9, weight_decay=hp["weight_decay"])

    def train(self, hp, steps):
        return self.fit(steps)

    def distill(self, teacher, hp, steps, progress):
        return self.fit(steps, teacher, progress)

    def fit(self, steps, teacher=None, progress=None):
        for step in range(steps):
            chosen = torch.randint(0, 400, (64,))
            logits = self.model(X[TRAIN][chosen])
            loss = cross_entropy(logits, Y[TRAIN][chosen])
            if teacher is not None:  # its weight falls from 1 to 0.05 in the course of the distillation
                loss += pt.teacher_weight(progress, step / steps) * imitation(logits, teacher.model(X[TRAIN][chosen]))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        with torch.no_grad():
            return {"accuracy": (self.model(X[VALID]).argmax(1) == Y[VALID]).float().mean()}


space = pt.Space(
    lr=pt.LogUniform(1e-3, 1.0),
    weight_decay=pt.LogUniform(1e-6, 1e-2),
    width=pt.Ordinal(2, 4, 8, 16, 32, 64, 128, static=True),
)
experiment = pt.Experiment(
    algorithm=pt.bg_pbt(space, population=4, interval=20, generations=pt.Generations(distill=60, every=100, most=3)),
    trainable=Digits,
    metric="accuracy",
    stop=pt.steps(600),
)

if __name__ == "__main__":
    run = pt.run(experiment)
    print(f"accuracy {run.best.score:.3f} with width {run.best.hparams['width']}")
