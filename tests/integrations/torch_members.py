"""PyTorch members with everything that a copy can lose: for the contract of adapters."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LinearLR, ReduceLROnPlateau, SequentialLR
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler, WeightedRandomSampler

from poptrain.integrations.torch import Batches, TorchMember

torch.set_num_threads(1)
FIRST = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4, "dropout": 0.1, "batch_size": 4}
SECOND = {"lr": 0.02, "momentum": 0.5, "weight_decay": 1e-2, "dropout": 0.4, "batch_size": 8}


class Transition(NamedTuple):
    state: torch.Tensor
    reward: float


@dataclass(slots=True)
class Mean:
    """A running mean: an object of the user's own."""

    value: float = 0.0
    count: int = 0

    def add(self, value):
        self.count += 1
        self.value += (value - self.value) / self.count


class Net(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(dropout), nn.Linear(8, 1))
        self.register_buffer("seen", torch.zeros(1), persistent=False)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        self.seen += len(x)
        return self.layers(x)


class Rich(TorchMember):
    """Dropout, momentum, warm-up, an average of weights, a buffer, generators, a position in the data, and references to all."""

    def __init__(self, hp, seed):
        self.net = Net(hp["dropout"])
        self.opt = torch.optim.SGD(self.net.parameters(), lr=hp["lr"], momentum=hp["momentum"])
        self.schedule = SequentialLR(
            self.opt, [LinearLR(self.opt, 0.1, total_iters=3), CosineAnnealingLR(self.opt, 30, 1e-3)], [3]
        )
        self.log_alpha = torch.zeros(1, requires_grad=True)
        self.alpha_opt = torch.optim.Adam([self.log_alpha], lr=0.1)
        self.weights = list(self.net.parameters())
        self.group = self.opt.param_groups[0]
        self.now = lambda: (self.weights[0].sum() + self.log_alpha.sum()).item()
        self.average = [weight.detach().clone() for weight in self.weights]
        self.buffer, self.mean, self.history = deque(maxlen=5), Mean(), {"losses": []}
        self.draws, self.noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        self.split = torch.randperm(64)
        data = torch.utils.data.TensorDataset(torch.arange(256.0).reshape(64, 4) / 256)
        self.batches = Batches(torch.utils.data.DataLoader(data, hp["batch_size"], shuffle=True))
        self.kept = hp

    def train(self, hp, steps):
        for _ in range(steps):
            (x,) = next(self.batches)
            x = x + 0.1 * torch.randn(x.shape, generator=self.noise) + 0.01 * self.draws.normal() + 0.01 * random.random()
            loss = (self.net(x) - x.sum(1, keepdim=True)).square().mean() + (self.log_alpha + 3).square().sum()
            for each in (self.opt, self.alpha_opt):
                each.zero_grad()
            loss.backward()
            for each in (self.opt, self.alpha_opt, self.schedule):
                each.step()
            with torch.no_grad():
                for old, new in zip(self.average, self.weights, strict=True):
                    old.lerp_(new, 0.1)
            self.buffer.append(Transition(x[0].clone(), loss.item()))
            self.mean.add(loss.item())
            self.history["losses"].append(loss.item())
        return {
            "score": -self.mean.value, "now": self.now(), "rate": self.group["lr"], "calls": self.net.calls,
            "alpha": self.log_alpha.item(), "buffer": sum(each.state.sum().item() + each.reward for each in self.buffer),
            "average": sum(each.sum().item() for each in self.average), "split": self.split[:5].sum().item(),
            "seen": self.net.seen.item(), "batch": self.batches.loader.batch_size, "dropout": self.net.layers[2].p,
        }  # fmt: skip


class ByName(TorchMember):
    """`__init__` reads nothing: the adapter sets the options by their names, under a schedule too."""

    def __init__(self, hp, seed):
        self.net = nn.Linear(2, 1)
        self.opt = torch.optim.AdamW(self.net.parameters())
        self.schedule = ExponentialLR(self.opt, 0.9)

    def train(self, hp, steps):
        for _ in range(steps):
            loss = (self.net(torch.randn(4, 2)) - 1).square().mean()
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            self.schedule.step()
        return {"score": -loss.item() if steps else float("nan"), "rate": self.opt.param_groups[0]["lr"]}


class Plateau(TorchMember):
    """A schedule that decides by itself, and a rate that its user computes."""

    def __init__(self, hp, seed):
        self.net = nn.Linear(2, 1)
        groups = [{"params": [self.net.weight], "lr": hp["lr"] * 0.1}, {"params": [self.net.bias]}]
        self.opt = torch.optim.SGD(groups, lr=hp["lr"], momentum=hp["momentum"])
        self.schedule = ReduceLROnPlateau(self.opt, factor=0.5, patience=0, min_lr=1e-4)

    def train(self, hp, steps):
        for _ in range(steps):
            self.opt.zero_grad()
            (self.net(torch.randn(4, 2)) - 1).square().mean().backward()
            self.opt.step()
            self.schedule.step(1.0)
        return {"score": self.net.bias.item(), "rates": sum(group["lr"] for group in self.opt.param_groups)}


class Order(Sampler):
    """An order of the user's own: it has a generator, and counts its epochs."""

    def __init__(self, seed):
        self.epoch, self.draws = 0, np.random.default_rng(seed)

    def __iter__(self):
        self.epoch += 1
        yield from self.draws.permutation(64)[: 64 - self.epoch].tolist()

    def __len__(self):
        return 64


class Noisy(Dataset):
    """Rows to which noise of the global generators is added when they are read."""

    def __len__(self):
        return 64

    def __getitem__(self, row):
        return torch.full((4,), row / 64) + 0.1 * torch.randn(4) + 0.1 * float(np.random.normal())


class Sampled(TorchMember):
    """Gradients that accumulate over the ends of intervals, and samplers with generators and counters of their own."""

    def __init__(self, hp, seed):
        self.net = nn.Linear(4, 1)
        self.opt = torch.optim.SGD(self.net.parameters(), lr=hp["lr"], momentum=hp["momentum"])
        weighted = WeightedRandomSampler(torch.arange(1.0, 65), 64, generator=torch.Generator().manual_seed(seed))
        size, both = hp["batch_size"], (Order(seed), weighted)
        loaders = [DataLoader(Noisy(), size, sampler=each) for each in both]
        loaders += [
            DataLoader(Noisy(), batch_sampler=BatchSampler(Order(seed), size, False)),
            DataLoader(Noisy(), size, shuffle=True),
        ]
        self.batches, self.calls = [Batches(each) for each in loaders], 0

    def train(self, hp, steps):
        loss = torch.tensor(float("nan"))
        for _ in range(steps):
            loss = sum((self.net(x := next(each)) - x.sum(1, keepdim=True)).square().mean() for each in self.batches)
            (loss / 3).backward()
            self.calls += 1
            if self.calls % 3 == 0:
                self.opt.step()
                self.opt.zero_grad()
        return {"score": -loss.item(), "weights": self.net.weight.abs().sum().item()}


class SecondOrder(TorchMember):
    """L-BFGS: its sums over vectors are the same only if these lie in memory as PyTorch allocates them."""

    def __init__(self, hp, seed):
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        self.opt = torch.optim.LBFGS(self.net.parameters(), lr=hp["lr"], max_iter=3, line_search_fn="strong_wolfe")
        self.data = torch.rand(64, 4)

    def train(self, hp, steps):
        def loss():
            self.opt.zero_grad()
            error = (self.net(self.data) - self.data.sum(1, keepdim=True)).square().mean()
            error.backward()
            return error

        error = torch.tensor(float("nan"))
        for _ in range(steps):
            error = self.opt.step(loss)
        return {
            "score": -error.item(),
            "weights": sum(each.detach().double().abs().sum().item() for each in self.net.parameters()),
        }
