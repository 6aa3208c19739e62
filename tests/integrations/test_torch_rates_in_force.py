"""A rate that was read and that no optimiser follows, and a momentum that a schedule sets: both are named; nothing else is."""

from __future__ import annotations

import warnings

import pytest

pytest.importorskip("torch")

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.optim.lr_scheduler import CosineAnnealingLR, CyclicLR, LambdaLR, OneCycleLR, ReduceLROnPlateau  # noqa: E402

import poptrain as pt  # noqa: E402
from poptrain.integrations.torch import TorchMember  # noqa: E402


class Base(TorchMember):
    """It copies all values, which counts as reading them all; the rate of its optimiser is a constant."""

    def __init__(self, hp, seed):
        hp = dict(hp)
        self.net = nn.Linear(2, 1)
        self.optimizer = torch.optim.SGD(self.net.parameters(), 0.01)
        self.schedule = None
        self.more(hp)

    def more(self, hp):
        pass

    def train(self, hp, steps):
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.net(torch.ones(3, 2)).mean().backward()
            self.optimizer.step()
            if self.schedule is not None:
                self.schedule.step()
            self.after(hp)
        return {"score": 0.0}

    def after(self, hp):
        pass


class UnderCosine(Base):
    def more(self, hp):
        self.schedule = CosineAnnealingLR(self.optimizer, 10)


class Kept(Base):
    def more(self, hp):
        self.lr = hp["lr"]


@pytest.mark.parametrize("kind", [Base, UnderCosine, Kept])
def test_a_rate_that_was_read_and_that_the_optimiser_ignores_is_named(kind):
    with pytest.raises(pt.UsageError, match=rf"{kind.__name__} does not train .* lr=0.3 was read, but the optimiser is the same"):
        kind({"lr": 0.3}, 0).train({"lr": 0.3}, 2)


class Half(Base):
    def more(self, hp):
        self.optimizer = torch.optim.SGD(self.net.parameters(), hp["lr"] / 2)


class InALambda(Base):
    def more(self, hp):
        self.schedule = LambdaLR(self.optimizer, lambda step: step * hp["lr"])


class Limit(Base):
    def more(self, hp):
        self.schedule = CyclicLR(self.optimizer, 0.01, hp["lr"])


class ByHand(Base):
    def more(self, hp):
        self.lr = hp["lr"]

    def after(self, hp):
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr / 7


class ReadWhileTraining(Base):
    def after(self, hp):
        hp["lr"]


class Excused(Base):
    own = ("lr",)


@pytest.mark.parametrize("kind", [Half, InALambda, Limit, ByHand, ReadWhileTraining, Excused])
def test_a_rate_that_acts_in_another_way_is_left_alone(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind({"lr": 0.3}, 0).train({"lr": 0.3}, 2)


def test_the_second_object_is_closed_and_one_member_stands_for_all_of_its_kind():
    closed = []

    class Closing(Half):
        def close(self):
            closed.append(self)

    member = Closing({"lr": 0.3}, 0)
    member.train({"lr": 0.3}, 1)
    assert len(closed) == 1 and closed[0] is not member
    member.train({"lr": 0.3}, 1)
    Closing({"lr": 0.1}, 1).train({"lr": 0.1}, 1)
    assert len(closed) == 1


class Cycled(Base):
    options = staticmethod(lambda hp: {})

    def more(self, hp):
        self.optimizer = torch.optim.Adam(self.net.parameters(), 0.1, betas=(hp["beta1"], 0.99))
        self.schedule = OneCycleLR(self.optimizer, 0.1, 10, **self.options(hp))


def test_a_momentum_that_a_schedule_sets_is_named():
    with pytest.raises(
        pt.UsageError, match=r"beta1=0.8, but OneCycleLR moves the momentum between 0.85 and 0.95\. .*=hp\['beta1'\]"
    ):
        Cycled({"beta1": 0.8}, 0).train({"beta1": 0.8}, 2)

    class Unread(Cycled):
        def more(self, hp):
            super().more({"beta1": 0.9})

    with pytest.raises(pt.UsageError, match="moves the momentum"):
        Unread({"beta1": 0.8}, 0).train({"beta1": 0.8}, 2)


@pytest.mark.parametrize("options", [lambda hp: {"cycle_momentum": False}, lambda hp: {"max_momentum": hp["beta1"]}])
def test_a_momentum_that_the_schedule_takes_is_left_alone(options):
    class Follows(Cycled):
        pass

    Follows.options = staticmethod(options)
    Follows({"beta1": 0.8}, 0).train({"beta1": 0.8}, 2)


def test_a_reduction_does_not_hide_it():
    class Reduced(Base):
        def more(self, hp):
            self.plateau = ReduceLROnPlateau(self.optimizer, patience=0)

    with pytest.raises(pt.UsageError, match="the optimiser is the same"):
        Reduced({"lr": 0.3}, 0).train({"lr": 0.3}, 1)
