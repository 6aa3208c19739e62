from torch.utils.data import DataLoader

import poptrain as pt
from benchmarks.snippets.module import Net, rows
from poptrain.integrations.lightning import LightningMember


class Classifier(LightningMember):
    def make(self, hp, seed):
        data = DataLoader(rows, hp["batch_size"], shuffle=True), DataLoader(rows, 64)
        return Net(hp["lr"]), data


space = pt.Space(lr=pt.LogUniform(1e-3, 1.0), batch_size=pt.Ordinal(8, 16, 32))
run = pt.run(pt.pbt(space, population=2, interval=2), Classifier, metric="val_loss", mode="min", stop=pt.steps(6))
print(run.best.score, run.best.hparams)
