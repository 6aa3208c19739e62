"""Lightning as a member: the laws of every adapter, and what is special about it."""

from __future__ import annotations

import pytest

pytest.importorskip("lightning")
pytestmark = pytest.mark.heavy

import torch  # noqa: E402
from lightning.pytorch import LightningDataModule, LightningModule  # noqa: E402
from lightning.pytorch.callbacks import BackboneFinetuning  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

import poptrain as pt  # noqa: E402
from poptrain.integrations.lightning import LightningMember  # noqa: E402
from poptrain.testing import AdapterContract  # noqa: E402

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > X[:, 1]).long()
FIRST = {"lr": 1e-2, "beta1": 0.8, "weight_decay": 0.1, "batch_size": 16, "dropout": 0.1, "gradient_clip_val": 1.0}
SECOND = {"lr": 3e-3, "beta1": 0.95, "weight_decay": 0.01, "batch_size": 8, "dropout": 0.3, "gradient_clip_val": 0.1}


class Module(LightningModule):
    def __init__(self, lr, beta1, weight_decay, dropout):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2))

    def training_step(self, batch, index):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, index):
        self.log("score", -nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        h = self.hparams
        optimizer = torch.optim.AdamW(self.parameters(), h.lr, betas=(h.beta1, 0.99), weight_decay=h.weight_decay)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10, eta_min=1e-4)]


class Member(LightningMember):
    def make(self, hp, seed):
        loaders = (DataLoader(TensorDataset(X, Y), batch, shuffle=s) for batch, s in ((hp["batch_size"], True), (64, False)))
        return Module(hp["lr"], hp["beta1"], hp["weight_decay"], hp["dropout"]), tuple(loaders)

    def options(self, hp):
        return {"accelerator": "cpu", "gradient_clip_val": hp["gradient_clip_val"]}


class TestContract(AdapterContract):
    steps = 2

    def member(self):
        return Member

    def values(self):
        return FIRST, SECOND

    def derived(self, member):
        return {
            "rates": [group["lr"] for optimizer in member._trainer.optimizers for group in optimizer.param_groups],
            "dropouts": [module.p for module in member.module.modules() if isinstance(module, nn.Dropout)],
        }


def weights(member) -> float:
    return float(sum(p.detach().double().abs().sum() for p in member.module.parameters()))


def test_intervals_train_as_one_call_of_the_trainer_does():
    whole, parts = Member(FIRST, 5), Member(FIRST, 5)
    for member in (whole, parts):
        member.set_budget(6)
    expected = whole.train(FIRST, 6)
    for _ in range(3):
        found = parts.train(FIRST, 2)
    assert found["score"] == expected["score"] and weights(parts) == weights(whole)


def test_an_evaluation_before_training_and_a_loaded_model_are_scored(tmp_path):
    member, other = Member(FIRST, 5), Member(FIRST, 6)
    before = member.train(FIRST, 0)
    after = member.train(FIRST, 2)
    member.save(tmp_path)
    other.load(tmp_path)
    assert before["score"] != after["score"] and other.train(FIRST, 0)["score"] == after["score"]


def test_a_trainer_that_stops_early_is_refused():
    class Early(Member):
        def options(self, hp):
            return {**super().options(hp), "max_steps": 5}

    with pytest.raises(pt.UsageError, match="training ended after epoch . of 3: something else stops the Trainer"):
        Early(FIRST, 1).train(FIRST, 3)


def test_what_make_returns_is_checked():
    class Bad(Member):
        def make(self, hp, seed):
            return super().make(hp, seed)[0]

    with pytest.raises(pt.UsageError, match=r"make returned Module, expected the pair \(LightningModule, its data\)"):
        Bad(FIRST, 1).train(FIRST, 1)


def test_another_kind_of_optimiser_is_refused_with_the_fix(tmp_path):
    class Choosing(Member):
        def make(self, hp, seed):
            module, data = super().make(hp, seed)
            kind = hp["kind"]
            module.configure_optimizers = lambda: getattr(torch.optim, kind)(module.parameters(), FIRST["lr"])
            return module, data

    member, copied = Choosing({**FIRST, "kind": "Adam"}, 1), Choosing({**FIRST, "kind": "SGD"}, 2)
    member.train({**FIRST, "kind": "Adam"}, 1)
    member.save(tmp_path)
    copied.load(tmp_path)
    with pytest.raises(pt.UsageError, match="state of Adam, but a member with these values has SGD.*static=True"):
        copied.train({**FIRST, "kind": "SGD"}, 1)


class Cycled(Module):
    """A schedule over all steps, which moves beta1 too; its length follows from the budget."""

    def configure_optimizers(self):
        h, steps = self.hparams, self.trainer.estimated_stepping_batches
        optimizer = torch.optim.AdamW(self.parameters(), h.lr / 25, weight_decay=h.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, h.lr, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Reduced(Module):
    """A schedule that lowers the rate by itself after each epoch."""

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), self.hparams.lr, weight_decay=self.hparams.weight_decay)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", factor=0.5, patience=0, threshold=9.0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "score"}}


def scheduled(module):
    class Scheduled(Member):
        def make(self, hp, seed):
            return module(hp["lr"], hp["beta1"], hp["weight_decay"], hp["dropout"]), super().make(hp, seed)[1]

    return Scheduled


def rates(member):
    return [group["lr"] for group in member._trainer.optimizers[0].param_groups]


@pytest.mark.parametrize("module", [Cycled, Reduced])
def test_a_schedule_goes_on_in_intervals_and_with_a_new_rate(module, tmp_path):
    hp, cls = {**FIRST, "gradient_clip_val": 1.0}, scheduled(module)
    whole, parts = cls(hp, 5), cls(hp, 5)
    for member in (whole, parts):
        member.set_budget(6)
    whole.train(hp, 4)
    parts.train(hp, 2)
    parts.save(tmp_path)
    parts.train(hp, 2)
    assert weights(whole) == weights(parts) and rates(whole) == rates(parts)
    copied, fresh = cls({**hp, "lr": 0.1}, 6), cls({**hp, "lr": 0.1}, 6)
    for member in (copied, fresh):
        member.set_budget(6)
    copied.load(tmp_path)
    copied.train({**hp, "lr": 0.1}, 2)
    fresh.train({**hp, "lr": 0.1}, 4)
    assert rates(copied) == pytest.approx(rates(fresh), rel=1e-9)


def test_a_run_with_more_steps_makes_its_schedules_longer():
    member, longer = scheduled(Cycled)(FIRST, 5), scheduled(Cycled)(FIRST, 5)
    member.set_budget(2)
    member.train(FIRST, 2)
    for each, steps in (member, 1), (longer, 3):
        each.set_budget(4)
        each.train(FIRST, steps)
    assert rates(member) == pytest.approx(rates(longer), rel=1e-9)


@pytest.mark.parametrize(("before", "now"), [(8, 16), (16, 8)])
def test_a_schedule_of_batches_is_at_the_same_epoch_after_the_batch_size_has_changed(before, now, tmp_path):
    """The copy is where a fresh member with its values would be, and its schedule lasts to the end of the training."""
    cls, first, second = scheduled(Cycled), {**FIRST, "batch_size": before}, {**FIRST, "lr": 0.1, "batch_size": now}
    member, copied, fresh = cls(first, 5), cls(second, 6), cls(second, 7)
    for each in (member, copied, fresh):
        each.set_budget(5)
    member.train(first, 2)
    member.save(tmp_path)
    copied.load(tmp_path)
    copied.train(second, 1)
    fresh.train(second, 3)
    assert rates(copied) == pytest.approx(rates(fresh), rel=1e-9)
    copied.train(second, 2)
    member.train(second, 3)
    assert rates(copied) == rates(member)


def test_a_schedule_that_ends_before_the_training_is_named():
    class Short(Module):
        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.parameters(), self.hparams.lr, weight_decay=self.hparams.weight_decay)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.hparams.lr, total_steps=3)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    with pytest.raises(pt.UsageError, match="OneCycleLR was made for 3 steps, and the training has more.*estimated_stepping_b"):
        scheduled(Short)(FIRST, 1).train(FIRST, 1)


@pytest.mark.parametrize("name", ["EMAWeightAveraging", "StochasticWeightAveraging"])
def test_a_callback_that_ends_with_averages_is_named(name):
    import lightning.pytorch.callbacks as callbacks

    if not hasattr(callbacks, name):
        pytest.skip("this version of Lightning does not have it")

    class Averaging(Member):
        def options(self, hp):
            arguments = [0.01] if name.startswith("Stoch") else []
            return {**super().options(hp), "callbacks": getattr(callbacks, name)(*arguments)}

    with pytest.raises(pt.UsageError, match=f"{name} ends each interval with averages.*AveragedModel"):
        Averaging(FIRST, 1).train(FIRST, 1)


class Plain(LightningModule):
    def __init__(self, hp, rate, schedule=None):
        super().__init__()
        self.hp, self.rate, self.schedule = dict(hp), rate, schedule
        self.net = nn.Linear(6, 2)

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), self.rate, momentum=self.hp.get("momentum", 0.0))
        if self.schedule is None:
            return optimizer
        scheduler = self.schedule(optimizer, self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class ByHand(Plain):
    def optimizer_step(self, epoch, batch, optimizer, closure=None):
        optimizer.step(closure)
        optimizer.param_groups[0]["lr"] = self.hp["lr"] / 7


def trained(hp, module):
    class Made(LightningMember):
        def make(self, hp, seed):
            return module(dict(hp)), DataLoader(TensorDataset(X, Y), 16)

        def options(self, hp):
            return {"accelerator": "cpu"}

    member = Made(hp, 1)
    member.set_budget(5)
    member.train(hp, 1)


def cosine(optimizer, steps):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


@pytest.mark.parametrize("schedule", [None, cosine])
def test_a_rate_that_was_read_and_that_the_optimiser_ignores_is_named(schedule):
    with pytest.raises(pt.UsageError, match="Made does not train .* lr=0.3 was read, but the optimiser is the same"):
        trained({"lr": 0.3}, lambda hp: Plain(hp, 0.01, schedule))


def test_a_rate_that_acts_in_another_way_is_left_alone():
    trained({"lr": 0.3}, lambda hp: Plain(hp, hp["lr"] / 2, cosine))
    trained({"lr": 0.3}, lambda hp: Plain(hp, 1.0, lambda o, n: torch.optim.lr_scheduler.OneCycleLR(o, hp["lr"], n)))
    trained({"lr": 0.3}, lambda hp: ByHand(hp, 0.01))


def test_a_momentum_that_a_schedule_sets_is_named():
    def cycle(**options):
        return lambda optimizer, steps: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, steps, **options)

    hp = {"momentum": 0.8}
    with pytest.raises(pt.UsageError, match="momentum=0.8, but OneCycleLR moves the momentum between 0.85 and 0.95"):
        trained(hp, lambda hp: Plain(hp, 0.1, cycle()))
    trained(hp, lambda hp: Plain(hp, 0.1, cycle(cycle_momentum=False)))
    trained(hp, lambda hp: Plain(hp, 0.1, cycle(max_momentum=hp["momentum"])))


class Ordered(LightningDataModule):
    """It makes a loader with a generator of its own whenever it is asked."""

    def train_dataloader(self):
        return DataLoader(TensorDataset(X, Y), 16, shuffle=True, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("data", [Ordered, lambda: Ordered().train_dataloader()])
def test_a_loader_with_its_own_generator_goes_on(data, tmp_path):
    class Made(LightningMember):
        def make(self, hp, seed):
            return Plain(hp, hp["lr"]), data()

        def options(self, hp):
            return {"accelerator": "cpu"}

        def train(self, hp, steps):
            super().train(hp, steps)
            return float(sum(p.detach().double().abs().sum() for p in self.module.parameters()))

    hp = {"lr": 0.1}
    whole, parts, resumed = Made(hp, 1), Made(hp, 1), Made(hp, 2)
    for member in (whole, parts, resumed):
        member.set_budget(4)
    expected = whole.train(hp, 4)
    parts.train(hp, 2)
    parts.save(tmp_path)
    resumed.load(tmp_path)
    assert parts.train(hp, 2) == resumed.train(hp, 2) == expected


class Head(Plain):
    """Its backbone is trained from the second epoch on."""

    def __init__(self, hp, rate):
        super().__init__(hp, rate)
        self.backbone = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU())

    def training_step(self, batch, index):
        return super().training_step([self.backbone(batch[0]), batch[1]], index)

    def configure_optimizers(self):
        return torch.optim.SGD([each for each in self.parameters() if each.requires_grad], self.rate, momentum=0.9)


class Finetuned(LightningMember):
    def make(self, hp, seed):
        return Head(hp, hp["lr"]), DataLoader(TensorDataset(X, Y), 16, shuffle=True)

    def options(self, hp):
        return {"accelerator": "cpu", "callbacks": [BackboneFinetuning(1, lambda epoch: 1.5, train_bn=False)]}


@pytest.mark.parametrize("parts", [(1, 3), (2, 2), (1, 1, 1, 1), (3, 1)])
def test_layers_that_a_callback_has_unfrozen_stay_so_in_the_next_interval(parts, tmp_path):
    hp = {"lr": 0.05}
    whole, member, resumed = Finetuned(hp, 1), Finetuned(hp, 1), Finetuned(hp, 2)
    for each in (whole, member, resumed):
        each.set_budget(4)
    whole.train(hp, 4)
    *before, last = parts
    for steps in before:
        member.train(hp, steps)
    member.save(tmp_path)
    resumed.load(tmp_path)
    for each in (member, resumed):
        each.train(hp, last)
    states = [each.module.state_dict() for each in (whole, member, resumed)]
    assert all(torch.equal(states[0][name], state[name]) for state in states[1:] for name in states[0])
