import torch

import poptrain as pt
from benchmarks.snippets.task import evaluate, make_model, train_one_epoch
from poptrain.integrations.ray_tune import tuner
from poptrain.integrations.torch import TorchMember


class Classifier(TorchMember):
    def __init__(self, hp, seed):
        self.model = make_model()
        self.optimizer = torch.optim.SGD(self.model.parameters(), **hp)

    def train(self, hp, steps):
        train_one_epoch(self.model, self.optimizer)
        return {"score": evaluate(self.model)}


space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), momentum=pt.Uniform(0.8, 0.99))
results = tuner(Classifier, pt.pbt(space, population=8, interval=5), stop=20).fit()
