import torch

import poptrain as pt
from benchmarks.snippets.task import evaluate, make_model, train_one_epoch
from poptrain.integrations.torch import TorchMember


class Classifier(TorchMember):
    def __init__(self, hp, seed):
        self.model = make_model()
        self.optimizer = torch.optim.SGD(self.model.parameters(), **hp)

    def train(self, hp, steps):
        for _ in range(steps):
            train_one_epoch(self.model, self.optimizer)
        return {"score": evaluate(self.model)}


space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), momentum=pt.Uniform(0.8, 0.99))
run = pt.run(pt.pbt(space, population=8, interval=5), Classifier, stop=pt.steps(100))
print(run.best.score, run.schedule().to_csv())
