import torch

import poptrain as pt
from benchmarks.snippets.task import evaluate, make_model, train_one_epoch


class Classifier:
    def __init__(self, hp, seed):
        torch.manual_seed(seed)
        self.model = make_model()
        self.optimizer = torch.optim.SGD(self.model.parameters(), **hp)

    def train(self, hp, steps):
        self.optimizer.param_groups[0].update(hp)  # a clone has loaded its parent's
        for _ in range(steps):
            train_one_epoch(self.model, self.optimizer)
        return {"score": evaluate(self.model)}

    def save(self, directory):
        torch.save([self.model.state_dict(), self.optimizer.state_dict()], directory / "state.pt")

    def load(self, directory):
        model, optimizer = torch.load(directory / "state.pt", weights_only=True)
        self.model.load_state_dict(model)
        self.optimizer.load_state_dict(optimizer)


space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), momentum=pt.Uniform(0.8, 0.99))
run = pt.run(pt.pbt(space, population=8, interval=5), Classifier, stop=pt.steps(100))
print(run.best.score, run.schedule().to_csv())
