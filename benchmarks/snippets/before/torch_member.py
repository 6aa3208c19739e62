import torch

from benchmarks.snippets.task import evaluate, make_model, train_one_epoch

steps = 100
model = make_model()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
for _ in range(steps):
    train_one_epoch(model, optimizer)
print(evaluate(model))
