"""`TorchMember` under the laws of every adapter."""

from __future__ import annotations

import pytest

import poptrain as pt

pytestmark = pytest.mark.heavy
pytest.importorskip("torch")

from integrations import torch_members as members  # noqa: E402


class TestRich(pt.testing.AdapterContract):
    """Everything at once; dropout and the batch size act in objects that ``__init__`` makes."""

    read_by_code = ("dropout", "batch_size")

    def member(self):
        return members.Rich

    def values(self):
        return members.FIRST, members.SECOND

    def derived(self, member):
        groups = member.opt.param_groups + member.alpha_opt.param_groups
        return {
            "dropout": member.net.layers[2].p,
            "batch": member.batches.loader.batch_size,
            **{f"rate {at}": group["lr"] for at, group in enumerate(groups)},
        }


class TestByName(pt.testing.AdapterContract):
    """Options that only their names connect with hyperparameters."""

    def member(self):
        return members.ByName

    def values(self):
        return {"lr": 0.1, "weight_decay": 0.1, "beta1": 0.5}, {"lr": 0.01, "weight_decay": 0.2, "beta1": 0.8}

    def derived(self, member):
        return {"rate": member.opt.param_groups[0]["lr"]}


class TestPlateau(pt.testing.AdapterContract):
    """Reductions of a parent last in its copies, and groups keep the ratios of their rates."""

    def member(self):
        return members.Plateau

    def values(self):
        return {"lr": 0.1, "momentum": 0.5}, {"lr": 0.01, "momentum": 0.8}

    def derived(self, member):
        return {f"rate {at}": group["lr"] for at, group in enumerate(member.opt.param_groups)}


class TestSampled(pt.testing.AdapterContract):
    """Gradients and orders of the data go over the ends of intervals; batches of another size begin a new epoch."""

    read_by_code = ("batch_size",)

    def member(self):
        return members.Sampled

    def values(self):
        return {"lr": 0.1, "momentum": 0.5, "batch_size": 8}, {"lr": 0.01, "momentum": 0.8, "batch_size": 4}


class TestSecondOrder(pt.testing.AdapterContract):
    """The state of L-BFGS."""

    steps = 4

    def member(self):
        return members.SecondOrder

    def values(self):
        return {"lr": 0.1}, {"lr": 0.01}
