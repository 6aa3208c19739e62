"""A loader in an attribute: what it draws with by itself goes on in a resumed run and in a copy."""

from __future__ import annotations

import gc

import numpy as np
import pytest

pytest.importorskip("torch")

import torch  # noqa: E402
from going_on import check_goes_on  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import (  # noqa: E402
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

import poptrain as pt  # noqa: E402
from poptrain.integrations.torch import Batches, TorchMember  # noqa: E402
from poptrain.integrations.torch import draws as draws_module  # noqa: E402

DATA = TensorDataset(torch.randn(32, 3, generator=torch.Generator().manual_seed(0)))


def generator():
    return torch.Generator().manual_seed(5)


class Permuting(Sampler):
    def __init__(self):
        self.random, self.epoch = np.random.default_rng(3), 0

    def __iter__(self):
        self.epoch += 1
        return iter((self.random.permutation(32) + self.epoch).tolist() if self.epoch % 2 else range(32))

    def __len__(self):
        return 32


class Wrapping(Permuting):
    def __iter__(self):
        return iter([each % 32 for each in super().__iter__()])


class Noisy(Dataset):
    def __init__(self):
        self.random = np.random.default_rng(4)

    def __len__(self):
        return 32

    def __getitem__(self, index):
        return (DATA[index][0] + float(self.random.normal()),)


LOADERS = {
    "own generator": lambda: DataLoader(DATA, 8, shuffle=True, generator=generator()),
    "sampler": lambda: DataLoader(DATA, 8, sampler=RandomSampler(range(32), generator=generator())),
    "weights": lambda: DataLoader(DATA, 8, sampler=WeightedRandomSampler([1.0] * 32, 32, generator=generator())),
    "batches": lambda: DataLoader(DATA, batch_sampler=BatchSampler(RandomSampler(range(32), generator=generator()), 8, True)),
    "own sampler": lambda: DataLoader(DATA, 8, sampler=Wrapping()),
    "noisy data": lambda: DataLoader(Noisy(), 8),
    "part of noisy data": lambda: DataLoader(Subset(ConcatDataset([DATA, Noisy()]), range(16, 48)), 8),
}


class Member(TorchMember):
    loader_of = staticmethod(LOADERS["own generator"])

    def __init__(self, hp, seed):
        self.net = nn.Linear(3, 1)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=hp["lr"])
        self.data = {"loaders": [self.loader_of()]}

    def batches(self, steps):
        for _ in range(steps):
            yield from self.data["loaders"][0]

    def train(self, hp, steps):
        for (x,) in self.batches(steps):
            self.optimizer.zero_grad()
            self.net(x).square().mean().backward()
            self.optimizer.step()
        return {"score": float(sum(p.detach().double().abs().sum() for p in self.net.parameters()))}


class InBatches(Member):
    def __init__(self, hp, seed):
        super().__init__(hp, seed)
        self.data = Batches(self.loader_of())

    def batches(self, steps):
        return (next(self.data) for _ in range(3 * steps))


@pytest.mark.parametrize("base", [Member, InBatches])
@pytest.mark.parametrize("kind", LOADERS)
def test_a_loader_goes_on_where_it_was(kind, base, tmp_path):
    class Loading(base):
        loader_of = staticmethod(LOADERS[kind])

    check_goes_on(Loading, {"lr": 0.01}, {"lr": 0.03}, tmp_path)


def test_a_loader_of_the_global_generator_may_be_made_by_training(tmp_path):
    class Late(Member):
        def __init__(self, hp, seed):
            super().__init__(hp, seed)
            self.loader = None

        def batches(self, steps):
            self.loader = self.loader or DataLoader(DATA, 8, shuffle=True)
            return (batch for _ in range(steps) for batch in self.loader)

    first = Late({"lr": 0.01}, 1)
    first.train({"lr": 0.01}, 2)
    first.save(tmp_path)
    other = Late({"lr": 0.01}, 2)
    other.load(tmp_path)
    assert other.train({"lr": 0.01}, 2) == first.train({"lr": 0.01}, 2)


def test_a_list_of_what_training_made_is_refused_when_it_cannot_be_stored(tmp_path):
    class Late(Member):
        def train(self, hp, steps):
            self.later = [DataLoader(DATA, 8)]
            return super().train(hp, steps)

    first = Late({"lr": 0.01}, 1)
    first.train({"lr": 0.01}, 1)
    first.save(tmp_path)
    with pytest.raises(pt.UsageError, match=r"later.0 .* training made .* make it in __init__"):
        Late({"lr": 0.01}, 2).load(tmp_path)


def test_a_loader_is_not_kept_alive():
    gc.collect()
    before = len(draws_module._SEEN)
    member = Member({"lr": 0.01}, 1)
    assert len(draws_module._SEEN) > before
    del member
    gc.collect()
    assert len(draws_module._SEEN) == before
