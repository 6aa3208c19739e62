"""Flax NNX and optax: the laws of every adapter, and what is special about them."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("flax")
pytestmark = pytest.mark.heavy

import poptrain as pt  # noqa: E402
from poptrain.integrations.nnx import Batches, NNXMember  # noqa: E402

import flax.nnx as nnx  # noqa: E402  # isort: skip
import flax.struct  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from flax.training.train_state import TrainState  # noqa: E402

X = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
Y = X.sum(1, keepdims=True)
FIRST = {"lr": 0.02, "momentum": 0.5, "weight_decay": 0.01, "batch_size": 16, "dropout": 0.1}
SECOND = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.001, "batch_size": 8, "dropout": 0.3}


def sgd(learning_rate, momentum, weight_decay):
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(learning_rate, momentum))


TX = optax.inject_hyperparams(sgd)(0.1, 0.0, 0.0)


class Net(nnx.Module):
    def __init__(self, rate, rngs):
        self.first, self.dropout = nnx.Linear(4, 8, rngs=rngs), nnx.Dropout(rate, rngs=rngs)
        self.norm, self.last = nnx.BatchNorm(8, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(self.norm(nnx.relu(self.first(x)))))


@nnx.jit
def update(net, optimizer, x, y):
    loss, slopes = nnx.value_and_grad(lambda net: ((net(x) - y) ** 2).mean())(net)
    optimizer.update(net, slopes)
    return loss


class Member(NNXMember):
    def make(self, hp, seed):
        self.net = Net(hp["dropout"], nnx.Rngs(seed))
        self.optimizer = nnx.Optimizer(self.net, TX, wrt=nnx.Param)
        self.batches = Batches(len(X), hp["batch_size"])
        self.own_random = np.random.default_rng(seed)

    def fit(self, hp, steps):
        losses = []
        for _ in range(steps):
            rows = next(self.batches)
            losses.append(float(update(self.net, self.optimizer, X[rows], Y[rows])))
        noise = float(self.own_random.normal()), float(np.random.normal())
        return {"score": -losses[-1] if losses else float("nan"), "weights": weights(self), "noise": noise}


def weights(member) -> float:
    return float(sum(np.abs(np.asarray(leaf, float)).sum() for leaf in jax.tree.leaves(nnx.state(member.net, nnx.Param))))


class TestContract(pt.testing.AdapterContract):
    def member(self):
        return Member

    def values(self):
        return FIRST, SECOND


@flax.struct.dataclass
class Average:
    mean: jax.Array
    count: int = flax.struct.field(pytree_node=False, default=0)


class Odd(Member):
    """Everything that training may change outside of variables."""

    def make(self, hp, seed):
        super().make(hp, seed)
        self.net.calls = 0
        self.exact = {"z": np.array([1 + 1e-12, 2.0]), "a": jax.numpy.zeros(2), "big": np.array(2**40)}
        self.last, self.seen = [jax.numpy.ones(())], {"first": jax.numpy.zeros(1)}
        self.small = {"e5m2": jax.numpy.ones(2, jax.numpy.float8_e5m2), "half": jax.numpy.ones(2, jax.numpy.bfloat16)}
        self.average, self.inner = Average(jax.numpy.zeros(2)), {"average": Average(jax.numpy.ones(1), 5)}
        self.legacy, self.python = np.random.RandomState(seed % 2**31), random.Random(seed)
        self.bare, self.double = nnx.Param(jax.numpy.zeros(1)), nnx.Variable(np.array([1 + 1e-12]))

    def fit(self, hp, steps):
        metrics = super().fit(hp, steps)
        self.net.calls += 1
        self.net.eval()
        self.exact = {name: value + 1e-12 if name == "z" else value + 1 for name, value in self.exact.items()}
        self.last.append(self.last[-1].at[()].add(1.0))
        self.seen[f"at {len(self.seen)}"] = jax.numpy.ones(3)
        self.small = {name: value + value for name, value in self.small.items()}
        self.average = self.average.replace(mean=self.average.mean + 1, count=self.average.count + 1)
        self.inner["average"] = self.inner["average"].replace(count=self.inner["average"].count * 2)
        self.bare[...] = self.bare[...] + 1
        self.double.set_value(self.double.get_value() + 1e-12)
        kept = [self.exact, self.last, self.seen, self.small, self.average, self.inner, self.bare[...], self.double.get_value()]
        drawn = self.legacy.normal(), self.python.random()
        return {**metrics, "calls": self.net.calls, "kept": repr(kept), "drawn": drawn, "modes": self.net.dropout.deterministic}


class TestOdd(TestContract):
    def member(self):
        return Odd


class Linen(NNXMember):
    """A train state of Flax, whose optimiser holds its rate in half precision."""

    def make(self, hp, seed):
        tx = optax.inject_hyperparams(optax.sgd, hyperparam_dtype=jax.numpy.bfloat16)(learning_rate=0.5)
        weights = {"w": jax.random.normal(jax.random.key(seed), (4, 1))}
        self.state = TrainState.create(apply_fn=lambda weights, x: x @ weights["w"], params=weights, tx=tx)

    def fit(self, hp, steps):
        loss = jax.value_and_grad(lambda weights: ((self.state.apply_fn(weights, X) - Y) ** 2).mean())
        for _ in range(steps):
            value, slopes = loss(self.state.params)
            self.state = self.state.apply_gradients(grads=slopes)
        return {"score": -float(value) if steps else float("nan"), "w": float(self.state.params["w"].sum())}


class TestLinen(pt.testing.AdapterContract):
    def member(self):
        return Linen

    def values(self):
        return {"lr": 0.03}, {"lr": 0.01}


def test_a_variable_that_holds_a_tree_is_a_sentence(tmp_path):
    class Holds(Member):
        def make(self, hp, seed):
            super().make(hp, seed)
            self.tree = nnx.Variable({"a": jax.numpy.zeros(1)})

    with pytest.raises(pt.UsageError, match="a Variable holds a dict, which cannot be stored"):
        Holds(FIRST, 1).save(tmp_path)


class Scheduled(Member):
    """The optimiser is made with values, under a schedule over the whole training, without injection."""

    def make(self, hp, seed):
        super().make(hp, seed)
        schedule = optax.cosine_decay_schedule(hp["lr"], self.budget or 9)
        self.optimizer = nnx.Optimizer(self.net, sgd(schedule, hp["momentum"], hp["weight_decay"]), wrt=nnx.Param)


def test_values_that_only_make_knows_act_under_a_schedule_and_are_carried(tmp_path):
    """Copied with other values, it trains as an object that was made with them; with the same ones, as if nothing happened."""
    member, copied, loaded = Scheduled(FIRST, 1), Scheduled(SECOND, 2), Scheduled(FIRST, 3)
    member.train(FIRST, 3)
    member.save(tmp_path)
    for each in (copied, loaded):
        each.load(tmp_path)
    assert loaded.train(FIRST, 2) == member.train(FIRST, 2)
    member.load(tmp_path)
    assert copied.train(SECOND, 2) == member.train(SECOND, 2)
    assert {place.hparam for place in copied.places(SECOND)} == {"batch_size", "dropout"}


def test_a_schedule_that_is_injected_goes_on_with_its_new_values():
    class Injected(Member):
        def make(self, hp, seed):
            super().make(hp, seed)
            schedule = optax.cosine_decay_schedule(hp["lr"], self.budget)
            self.optimizer = nnx.Optimizer(self.net, optax.inject_hyperparams(sgd)(schedule, 0.0, 0.0), wrt=nnx.Param)

    member = Injected(FIRST, 1)
    member.set_budget(8)
    member.train(FIRST, 4)
    member.train({**FIRST, "lr": 0.01}, 2)
    rate = float(member.optimizer.opt_state.hyperparams["learning_rate"][...])
    assert rate == pytest.approx(0.01 * (1 + np.cos(np.pi * 5 / 8)) / 2)  # optax holds the rate of the last step
    assert member.effective(FIRST)["optimizer.opt_state.hyperparams.momentum"] == pytest.approx(0.5)


def test_injected_values_change_without_compiling_again_and_act():
    member, other = Member(FIRST, 5), Member(FIRST, 5)
    assert member.train(FIRST, 2) == other.train(FIRST, 2)
    compiled = update._cache_size() if hasattr(update, "_cache_size") else None
    net = member.net
    assert member.train({**FIRST, "lr": 0.3}, 1)["weights"] != other.train(FIRST, 1)["weights"]
    assert member.net is net and (compiled is None or update._cache_size() == compiled)


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay", "dropout", "batch_size"])
def test_a_new_value_acts_and_not_only_reads_back(name):
    kept, changed = Member(FIRST, 5), Member(FIRST, 5)
    assert kept.train(FIRST, 2) == changed.train(FIRST, 2)
    assert kept.train(FIRST, 2)["weights"] != changed.train({**FIRST, name: SECOND[name]}, 2)["weights"]


def test_a_value_that_training_changes_is_named():
    class Decaying(Member):
        def fit(self, hp, steps):
            metrics = super().fit(hp, steps)
            self.optimizer.opt_state.hyperparams["learning_rate"][...] *= 0.5
            return metrics

    with pytest.raises(pt.UsageError, match=r"lr=0.02, but optimizer.opt_state.hyperparams.learning_rate is 0.0099\d*"):
        Decaying(FIRST, 1).train(FIRST, 1)


def test_a_name_without_effect_is_named():
    hp = {**FIRST, "warmup": 3}
    with pytest.raises(pt.UsageError, match="Member has no use for 'warmup'"):
        Member(hp, 1).train(hp, 1)


def test_states_of_optax_nested_names_and_typed_keys_are_carried(tmp_path):
    """A functional optimiser in an attribute; the name of the attribute limits a hyperparameter to it."""

    class Functional(NNXMember):
        def make(self, hp, seed):
            self.params = {"w": jax.numpy.zeros(4)}
            self.head, self.body = TX.init(self.params), TX.init(self.params)
            self.key = jax.random.key(seed)

        def fit(self, hp, steps):
            self.key, key = jax.random.split(self.key)
            slopes = {"w": jax.random.normal(key, 4)}
            step, self.head = TX.update(slopes, self.head, self.params)
            other, self.body = TX.update(slopes, self.body, self.params)
            self.params = optax.apply_updates(optax.apply_updates(self.params, step), other)
            return {"score": float(self.params["w"].sum())}

    names = ("lr", "momentum", "weight_decay")
    hp = {"head": dict.fromkeys(names, 0.1), "body": dict.fromkeys(names, 0.2)}
    member, loaded = Functional(hp, 1), Functional(hp, 2)
    member.train(hp, 1)
    assert {place.hparam: place.held for place in member.places(hp)}["body.lr"] == pytest.approx(0.2)
    member.save(tmp_path)
    loaded.load(tmp_path)
    assert type(loaded.head) is type(member.head)
    assert loaded.train(hp, 2) == member.train(hp, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda member, hp: setattr(member, "net", nnx.Linear(4, 3, rngs=nnx.Rngs(0))), "other variables than make"),
        (lambda member, hp: delattr(member, "batches"), "make.. does not set self.batches"),
        (lambda member, hp: setattr(member, "batches", Batches(3, 2)), "64 rows, but make.. has Batches of 3 rows"),
    ],
)
def test_what_does_not_fit_the_checkpoint_is_refused(change, words, tmp_path):
    class Changed(Member):
        def make(self, hp, seed):
            super().make(hp, seed)
            change(self, hp)

    member = Member(FIRST, 1)
    member.train(FIRST, 1)
    member.save(tmp_path)
    with pytest.raises(pt.UsageError, match=words):
        Changed(FIRST, 2).load(tmp_path)


def test_what_cannot_be_stored_is_refused_with_its_name(tmp_path):
    class Odd(Member):
        def make(self, hp, seed):
            super().make(hp, seed)
            self.files, self._kept, self.function = {open}, {open}, update

    class Fine(Odd):
        def make(self, hp, seed):
            super().make(hp, seed)
            del self.files

    with pytest.raises(pt.UsageError, match="self.files cannot be stored.*begin its name with an underscore"):
        Odd(FIRST, 1).save(tmp_path)
    Fine(FIRST, 1).save(tmp_path)


def test_batches_cover_an_epoch_and_continue():
    np.random.seed(0)
    batches, copied = Batches(10, 3), Batches(10, 2)
    used = np.concatenate([next(batches) for _ in range(3)])
    assert len(set(used)) == 9 and batches.epoch == 0
    copied.load_state_dict(batches.state_dict())
    assert len(next(copied)) == 2 and copied.epoch == 1  # one row is left: a new epoch
    with pytest.raises(pt.UsageError, match=r"Batches\(rows=3, size=4\)"):
        Batches(3, 4)


@pytest.mark.parametrize("kind", ["multi_transform", "MultiSteps", "schedule"])
def test_an_optimiser_of_several_parts_continues_after_a_reload_and_takes_new_values(kind, tmp_path):
    """Where one part leaves a parameter alone, its state holds a marker and no array."""

    def parts(hp):
        inner = optax.inject_hyperparams(optax.adam)(hp["lr"])
        if kind == "MultiSteps":
            return optax.MultiSteps(inner, 2)
        if kind == "schedule":
            return optax.adam(optax.exponential_decay(hp["lr"], 5, 0.5))
        return optax.multi_transform(
            {"last": inner, "rest": optax.sgd(hp["lr"])},
            lambda tree: jax.tree.map_with_path(lambda path, _: "last" if "last" in str(path[0]) else "rest", tree),
        )

    class Several(Member):
        def make(self, hp, seed):
            super().make(hp, seed)
            self.optimizer = nnx.Optimizer(self.net, parts(hp), wrt=nnx.Param)

    hp = {"lr": 0.01, "batch_size": 16, "dropout": 0.1}
    member = Several(hp, 1)
    member.train(hp, 3)
    member.save(tmp_path)
    same, other = Several(hp, 2), Several({**hp, "lr": 0.05}, 3)
    same.load(tmp_path)
    other.load(tmp_path)
    expected, found = member.train(hp, 3), same.train(hp, 3)
    assert found == expected
    assert other.train({**hp, "lr": 0.05}, 3)["weights"] != expected["weights"]


def with_(make_tx):
    class Made(NNXMember):
        def make(self, hp, seed):
            self.net = nnx.Linear(4, 1, rngs=nnx.Rngs(seed))
            self.optimizer = nnx.Optimizer(self.net, make_tx(dict(hp)), wrt=nnx.Param)

        def fit(self, hp, steps):
            return {"score": [float(update(self.net, self.optimizer, X, Y)) for _ in range(steps)][-1]}

    return Made


@pytest.mark.parametrize("tx", [optax.adam(0.01), optax.chain(optax.clip(1.0), optax.sgd(0.1))])
def test_a_rate_that_was_read_and_that_the_optimiser_ignores_is_named(tx):
    with pytest.raises(pt.UsageError, match="Made does not train .* lr=0.3 was read, but the optimiser is the same"):
        with_(lambda hp: tx)({"lr": 0.3}, 1).train({"lr": 0.3}, 1)


def test_a_rate_that_acts_in_another_way_is_left_alone():
    for make_tx in (
        lambda hp: optax.sgd(hp["lr"] / 2),
        lambda hp: optax.adam(optax.warmup_cosine_decay_schedule(0.0, hp["lr"], 5, 10)),
    ):
        with_(make_tx)({"lr": 0.003}, 1).train({"lr": 0.003}, 1)
