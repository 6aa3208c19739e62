"""PyTorch members: the optimiser trains with the task's hyperparameters after every load, and nothing is lost on the way."""

from __future__ import annotations

import collections
import math
import random

import numpy as np
import pytest

import poptrain as pt
from poptrain.testing import check_trainable

pytestmark = pytest.mark.heavy
torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from poptrain.integrations.torch import Batches, TorchMember, apply_hparams, load_state, read_hparams, save_state  # noqa: E402

torch.set_num_threads(1)
SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), momentum=pt.Uniform(0.5, 0.99), weight_decay=pt.LogUniform(1e-6, 1e-2))
SEEN: list[tuple[dict, dict]] = []  # what was asked for, what the live optimiser held in the middle of training


class Member(TorchMember):
    """Everything that a checkpoint can lose: dropout, momentum, a schedule, a counter, three random generators."""

    def __init__(self, hp, seed):
        self.model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=hp["lr"], momentum=hp["momentum"])
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 3, 0.5)
        self.epoch, self.average = 0, torch.zeros(1)
        self._cache = object()

    def train(self, hp, steps):
        for _ in range(steps):
            x = torch.randn(16, 4) + random.random() + np.random.rand()
            loss = (self.model(x) - x.sum(1, keepdim=True)).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            self.epoch += 1
            self.average += loss.detach()
        SEEN.append((dict(hp), self.effective(hp)))
        return {"score": -float(self.average) / self.epoch}


def test_the_peers_fault_is_there_without_us():
    """Loading an optimiser brings back the learning rate that it was saved with (ray-project/ray 62173, 35640)."""
    parent = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    clone = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.01)
    clone.load_state_dict(parent.state_dict())
    assert clone.param_groups[0]["lr"] == 0.1
    assert apply_hparams(clone, {"lr": 0.01}) == {"optimizer[0].lr": 0.01}
    assert clone.param_groups[0]["lr"] == 0.01


def test_every_task_of_a_run_trains_with_its_own_hyperparameters(tmp_path):
    SEEN.clear()
    done = pt.run(pt.pbt(SPACE, population=4, interval=2), Member, stop=pt.steps(12), directory=tmp_path / "r")
    assert len(SEEN) == done.history.n == 24
    asked = sorted(tuple(sorted(done.history.task(id).hparams.items())) for id in range(24))
    assert sorted(tuple(sorted(hp.items())) for hp, _ in SEEN) == asked
    for hp, held in SEEN:
        assert held == {f"optimizer[0].{name}": value for name, value in hp.items()}
    assert len({hp["lr"] for hp, _ in SEEN}) > 6  # there were mutations
    best = done.best.load()
    assert best.effective(done.best.hparams)["optimizer[0].lr"] == pytest.approx(best.scheduler.base_lrs[0])


def test_a_clone_trains_with_its_own_rate_on_its_parents_weights(tmp_path):
    parent = Member({"lr": 0.1, "momentum": 0.9}, 1)
    parent.train({"lr": 0.1, "momentum": 0.9}, 4)  # past the scheduler's first step: the factor is a half
    parent.save(tmp_path)
    clone = Member({"lr": 0.02, "momentum": 0.5}, 2)
    clone.load(tmp_path)
    assert torch.equal(clone.model[0].weight, parent.model[0].weight)
    apply_hparams(clone.optimizers(), {"lr": 0.02, "momentum": 0.5}, clone.schedulers())
    (group,) = clone.optimizer.param_groups
    assert group["lr"] == pytest.approx(0.02 / 2) and group["momentum"] == 0.5 and clone.epoch == 4


def test_save_load_continue_equals_continue():
    check_trainable(Member, {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}, steps=5)


def test_a_checkpoint_that_loses_something_is_caught():
    class Forgets(Member):
        def save(self, directory):
            optimizer = self.__dict__.pop("optimizer")
            super().save(directory)
            self.optimizer = optimizer

    with pytest.raises(AssertionError, match="does not hold all of the state"):
        check_trainable(Forgets, {"lr": 0.05, "momentum": 0.9}, steps=5)


def test_members_do_not_share_their_random_streams():
    a, b = Member({"lr": 0.1, "momentum": 0.9}, 1), Member({"lr": 0.1, "momentum": 0.9}, 2)
    before = torch.get_rng_state(), random.getstate()
    together = [(a.train({"lr": 0.1, "momentum": 0.9}, 1), b.train({"lr": 0.1, "momentum": 0.9}, 1)) for _ in range(3)]
    alone = Member({"lr": 0.1, "momentum": 0.9}, 1)
    assert [alone.train({"lr": 0.1, "momentum": 0.9}, 1) for _ in range(3)] == [pair[0] for pair in together]
    assert together[0][0] != together[0][1]
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]


def test_workers_and_the_main_process_agree_to_the_bit():
    runs = [
        pt.run(pt.pbt(SPACE, population=3, interval=2), Member, stop=pt.steps(6), executor=executor)
        for executor in ("inline", pt.executors.Processes(slots=2, threads=1))
    ]
    scores = [run.history.table()["score"] for run in runs]
    assert scores[0] == scores[1]


def test_a_subclass_may_call_its_parents_methods():
    class Loud(Member):
        def __init__(self, hp, seed):
            super().__init__(hp, seed)
            self.calls = 0

        def train(self, hp, steps):
            self.calls += 1
            return super().train(hp, steps)

    hp = {"lr": 0.1, "momentum": 0.9}
    quiet, loud = Member(hp, 1), Loud(hp, 1)
    assert [quiet.train(hp, 2) for _ in range(3)] == [loud.train(hp, 2) for _ in range(3)]


def test_objects_in_lists_and_dicts_are_found(tmp_path):
    class Pair(TorchMember):
        def __init__(self, hp, seed):
            self.nets = [nn.Linear(1, 1), nn.Linear(1, 1)]
            self.parts = {"opt": [torch.optim.Adam(net.parameters()) for net in self.nets]}

        def train(self, hp, steps):
            for net, optimizer in zip(self.nets, self.parts["opt"], strict=True):
                optimizer.zero_grad()
                net(torch.ones(1, 1)).sum().backward()
                optimizer.step()
            return {"score": float(self.nets[1].weight.detach())}

    check_trainable(Pair, {"lr": 0.05})
    member = Pair({}, 0)
    member.train({"lr": 0.25}, 1)
    assert member.effective({"lr": 0.25}) == {"parts.opt.0[0].lr": 0.25, "parts.opt.1[0].lr": 0.25}


def test_an_optimiser_that_cannot_be_found_is_an_error():
    class Hidden(Member):
        def optimizers(self):
            return {}

    with pytest.raises(pt.UsageError, match="keep it in one, or return it from optimizers"):
        Hidden({"lr": 0.1, "momentum": 0.9}, 0).train({"lr": 0.1, "momentum": 0.9}, 1)


# -- names ----------------------------------------------------------------------------------------------------------------


def two_groups():
    body, head = nn.Linear(2, 2), nn.Linear(2, 2)
    return torch.optim.Adam([{"params": body.parameters()}, {"params": head.parameters(), "name": "head", "lr": 0.3}], lr=0.1)


@pytest.mark.parametrize(
    ("hparams", "expected"),
    [
        ({"lr": 0.01}, {"optimizer[0].lr": 0.01, "optimizer[head].lr": 0.01}),
        ({"head.lr": 0.01}, {"optimizer[head].lr": 0.01}),
        ({"head": {"lr": 0.01}, "lr": 0.02}, {"optimizer[0].lr": 0.02, "optimizer[head].lr": 0.01}),
        ({"lr": 0.02, "optimizer": {"head": {"lr": 0.01}}}, {"optimizer[0].lr": 0.02, "optimizer[head].lr": 0.01}),
        ({"beta2": 0.9}, {"optimizer[0].beta2": 0.9, "optimizer[head].beta2": 0.9}),
        ({"amsgrad": True}, {"optimizer[0].amsgrad": True, "optimizer[head].amsgrad": True}),
        ({"params": 1, "dropout": 0.5, "other.lr": 1.0}, {}),
    ],
)
def test_hyperparameters_find_their_groups(hparams, expected):
    optimizer = two_groups()
    assert apply_hparams(optimizer, hparams) == expected == read_hparams(optimizer, hparams)
    if "beta2" in hparams:
        assert optimizer.param_groups[0]["betas"] == (0.9, 0.9)
    if "head.lr" in hparams:
        assert optimizer.param_groups[0]["lr"] == 0.1  # the others stay


def test_optimisers_are_told_apart_by_their_names():
    named = {"actor": two_groups(), "critic": two_groups()}
    held = apply_hparams(named, {"critic.lr": 0.5})
    assert set(held) == {"critic[0].lr", "critic[head].lr"} and named["actor"].param_groups[0]["lr"] == 0.1


def test_a_rate_that_is_a_tensor_stays_the_same_tensor():
    rate = torch.tensor(0.1)
    optimizer = torch.optim.Adam(nn.Linear(2, 2).parameters(), lr=rate)
    apply_hparams(optimizer, {"lr": 0.3})
    assert optimizer.param_groups[0]["lr"] is rate and float(rate) == pytest.approx(0.3)


@pytest.mark.parametrize("kind", ["cosine", "lambda", "exponential"])
def test_a_scheduler_goes_on_from_the_new_base(kind):
    """After a change at step 3, step 5 has the rate that it would have had from the start."""

    def rates(first, then):
        optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=first)
        make = {
            "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10),
            "lambda": lambda: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
            "exponential": lambda: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
        }
        scheduler = make[kind]()
        for step in range(5):
            if step == 3:
                apply_hparams(optimizer, {"lr": then}, scheduler)
            optimizer.step()
            scheduler.step()
        return optimizer.param_groups[0]["lr"]

    assert rates(0.1, 0.4) == pytest.approx(rates(0.4, 0.4))


def test_a_schedule_without_a_base_rate_is_refused_and_its_peak_is_tuned_by_name():
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10)
    with pytest.raises(pt.UsageError, match="tune max_lr instead"):
        apply_hparams(optimizer, {"lr": 0.5}, scheduler)
    apply_hparams(optimizer, {"max_lr": 0.5}, scheduler)
    for _ in range(2):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5)


def test_an_optimiser_that_does_not_take_a_value_is_an_error():
    class Stubborn(torch.optim.SGD):
        def __init__(self, params):
            super().__init__(params, lr=0.1)

            class Group(dict):
                def __setitem__(self, name, value):
                    pass

            self.param_groups = [Group(self.param_groups[0])]

    with pytest.raises(pt.UsageError, match="the optimiser holds 0.1"):
        apply_hparams(Stubborn(nn.Linear(2, 2).parameters()), {"lr": 0.5})


def test_training_that_overwrites_a_hyperparameter_is_an_error():
    class Overwrites(Member):
        def train(self, hp, steps):
            metrics = super().train(hp, steps)
            self.optimizer.param_groups[0]["momentum"] = 0.9
            return metrics

    hp = {"lr": 0.1, "momentum": 0.5}
    with pytest.raises(pt.UsageError, match=r"momentum=0.5, but optimizer\[0\].momentum is 0.9. train changed what was set"):
        Overwrites(hp, 0).train(hp, 1)


def test_a_hyperparameter_that_nothing_reads_is_an_error_that_names_it():
    class Plain(TorchMember):
        def __init__(self, hp, seed):
            self.net = nn.Linear(1, 1)
            self.opt = torch.optim.SGD(self.net.parameters(), lr=hp["lr"])

        def train(self, hp, steps):
            return {"score": 0.0}

    hp = {"lr": 0.1, "weight_decai": 0.1}
    with pytest.raises(pt.UsageError, match="Plain has no use for 'weight_decai': no code read it.*Did you mean"):
        Plain(hp, 0).train(hp, 1)

    class Later(Plain):
        own = ("weight_decai",)

    Later(hp, 0).train(hp, 1)


# -- state on the disk ------------------------------------------------------------------------------------------------------


def test_state_comes_back_exactly(tmp_path):
    shared = torch.arange(6.0)
    state = {
        "a": shared, "view": shared[2:], "half": torch.ones(2, dtype=torch.bfloat16), "flag": torch.tensor(True),
        7: {"step": torch.tensor(3)}, "betas": (0.9, 0.999), "none": None, "nan": float("nan"), "big": 2**70,
        "words": np.arange(4, dtype=np.uint32), "zero": np.float64(0.5), "empty": torch.zeros(0, 3), "list": [1, [True, "x"]],
        "ordered": collections.OrderedDict(b=1, a=2),
    }  # fmt: skip
    save_state(state, tmp_path)
    back = load_state(tmp_path)
    assert list(back) == list(state) and back[7]["step"] == 3 and back["betas"] == (0.9, 0.999) and back["big"] == 2**70
    assert torch.equal(back["view"], shared[2:]) and back["half"].dtype is torch.bfloat16 and back["flag"].shape == ()
    assert math.isnan(back["nan"]) and back["none"] is None and back["list"] == [1, [True, "x"]]
    assert back["words"].dtype == np.uint32 and back["words"].tolist() == [0, 1, 2, 3] and back["empty"].shape == (0, 3)
    assert list(back["ordered"].items()) == [("b", 1), ("a", 2)]


def test_what_no_checkpoint_holds_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"state\.optimizer\.hook is function"):
        save_state({"optimizer": {"hook": lambda: 0}}, tmp_path)


def test_a_copy_with_another_batch_size_begins_an_epoch_with_it():
    """The position of its parent is counted in batches of another size; with it the copy could pass the end of its epoch."""
    data = torch.utils.data.TensorDataset(torch.arange(32.0)[:, None])

    class Reader(TorchMember):
        def __init__(self, hp, seed):
            self.net = torch.nn.Linear(1, 1)
            self.optimizer = torch.optim.SGD(self.net.parameters(), hp["lr"])
            self.batches = Batches(torch.utils.data.DataLoader(data, hp["batch_size"], shuffle=True))

        def train(self, hp, steps):
            return {"rows": [len(next(self.batches)[0]) for _ in range(steps)]}

    small, large = {"lr": 0.1, "batch_size": 4}, {"lr": 0.1, "batch_size": 16}
    member = Reader(small, 1)
    assert member.train(small, 5)["rows"] == [4] * 5
    assert member.train(large, 3)["rows"] == [16] * 3 and member.batches.taken == 1
    assert member.train(small, 9)["rows"] == [4] * 9 and member.batches.taken == 1
