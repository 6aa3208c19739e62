from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from benchmarks.snippets.module import Net, rows

net = Net(lr=0.1)
data = DataLoader(rows, 16, shuffle=True), DataLoader(rows, 64)
trainer = Trainer(max_epochs=6, accelerator="cpu")
trainer.fit(net, *data)
print(trainer.callback_metrics)
