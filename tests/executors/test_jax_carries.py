"""What a carry of JAX may hold: everything that JAX computes with comes back exactly, and everything else is named."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pytest

import poptrain as pt

jax = pytest.importorskip("jax")
jnp = jax.numpy

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))


class Moments(NamedTuple):
    count: object
    mean: object


@jax.tree_util.register_dataclass
@dataclass
class Net:
    w: object
    name: str = field(default="net", metadata={"static": True})


class Box:
    def __init__(self, inner):
        self.inner = inner


jax.tree_util.register_pytree_node(Box, lambda box: ((box.inner,), "box"), lambda aux, inner: Box(*inner))


def everything(hp, key):
    return {
        "key": jax.random.key(7),
        "keys": jax.random.split(jax.random.key(8, impl="rbg"), 2),
        "moments": Moments(jnp.int32(0), {"a": jnp.zeros(2)}),
        "net": Net(jnp.ones((2, 3), jnp.bfloat16)),
        "box": [Box((jnp.float32(0.9), None)), ()],
        "empty": jnp.zeros((0, 3)),
        "weak": 1.0,
        "bool": True,
        "half": jnp.float16(0.5),
        "byte": jnp.arange(3, dtype=jnp.uint8),
        "numbered": {3: jnp.int32(1)},
    }


def train(carry, hp, steps, key):
    theta, _ = carry["box"][0].inner
    own, key = jax.random.split(carry["key"])
    theta = theta * (1 - hp["lr"]) ** steps + 1e-3 * jax.random.normal(own)
    count, means = carry["moments"].count + steps, jax.tree.map(lambda a: a + theta, carry["moments"].mean)
    net = Net((carry["net"].w * 0.7 * carry["weak"]).astype(jnp.bfloat16), carry["net"].name)
    changed = {"key": key, "moments": Moments(count, means), "net": net, "box": [Box((theta, None)), ()]}
    return {**carry, **changed}, {"score": 1.2 - theta**2 + net.w.astype(jnp.float32).sum() + 0 * count}


def plain(hp, key):
    return {"theta": jnp.float32(0.9), "scale": 1.0, "half": jnp.ones(2, jnp.bfloat16)}


def train_plain(carry, hp, steps, key):
    half = carry["half"] * carry["scale"] * jnp.bfloat16(0.7)  # a weak scale would leave it in half precision
    return {**carry, "half": half.astype(jnp.bfloat16)}, {"score": half.sum().astype(jnp.float32) + hp["lr"]}


def nothing(hp, key):
    return {}


def train_nothing(carry, hp, steps, key):
    return carry, {"score": hp["lr"]}


PAIRS = {
    "everything": pt.jax_trainable(everything, train),
    "plain": pt.jax_trainable(plain, train_plain),
    "nothing": pt.jax_trainable(nothing, train_nothing),
}


def run(pair, executor, directory=None, steps=6):
    algorithm = pt.pbt(SPACE, population=4, interval=2, exploit=pt.truncation(0.25))
    return pt.run(algorithm, pair, stop=pt.steps(steps), executor=executor, directory=directory)


def scores(done):
    return [done.history.result(id).score for id in range(done.history.n)]


@pytest.mark.parametrize("executor", [pytest.param("inline", marks=pytest.mark.heavy), "vectorized"])
@pytest.mark.parametrize("name", PAIRS)
def test_a_run_that_is_resumed_trains_as_if_it_had_stayed(tmp_path, name, executor):
    whole = run(PAIRS[name], executor, tmp_path / "whole")
    for steps in (2, 4, 6):
        parts = run(PAIRS[name], executor, tmp_path / "parts", steps)
    assert scores(parts) == scores(whole)


def test_what_is_loaded_has_its_own_shape_and_types(tmp_path):
    done = run(PAIRS["everything"], "vectorized", tmp_path / "run")
    opened = done.best.load()
    made = everything({}, None)
    assert jax.tree.structure(opened) == jax.tree.structure(made) and type(opened["net"]) is Net
    for name in ("key", "keys", "empty", "half", "byte"):
        assert opened[name].dtype == made[name].dtype and opened[name].shape == made[name].shape
    assert opened["net"].w.dtype == jnp.bfloat16 and opened["moments"].count == done.best.step
    assert jax.random.key_impl(opened["keys"]) == "rbg" and jax.random.uniform(opened["keys"][1]) is not None
    np.testing.assert_array_equal(jax.random.key_data(opened["keys"]), jax.random.key_data(made["keys"]))


@pytest.mark.parametrize(
    ("carry", "words"),
    [
        (lambda: {"w": jnp.zeros(2), "net": ["adam"]}, r"init returned a carry in which carry\['net'\]\[0\] is str: expected"),
        (lambda: {"box": Box((object(),))}, r"carry\['box'\]\[.*\]\[0\] is object: expected arrays and numbers"),
        (lambda: {"a": np.array(["x"])}, r"carry\['a'\] is ndarray of <U1"),
        (lambda: {"a": np.arange(2, dtype=">f4")}, r"carry\['a'\] is ndarray of >f4"),
        (lambda: {"a": np.zeros(1, [("x", "f4")])}, r"carry\['a'\] is ndarray of "),
    ],
)
def test_what_jax_cannot_compute_with_is_named_by_its_path(carry, words):
    with pytest.raises(pt.UsageError, match=words):
        run(pt.jax_trainable(lambda hp, key: carry(), train_nothing), "inline")


@pytest.mark.parametrize(
    ("then", "now", "words"),
    [
        (
            lambda: Moments(1.0, 2.0),
            lambda: Moments(1.0, {"a": 2.0}),
            r"train returned a carry of another structure than init did: carry.mean was an array, and is a dict\.$",
        ),
        (
            lambda: Moments(1.0, {"c": 2.0}),
            lambda: Moments(1.0, {"d": 2.0}),
            r"carry.mean\['c'\] is gone, carry.mean\['d'\] is new\.$",
        ),
        (
            lambda: Box((Net(1.0),)),
            lambda: Box((Net(1.0, "other"),)),
            r"carry.*\.name, a static field of Net, was 'net', and is 'other'\. Static fields must be equal in every call",
        ),
    ],
)
def test_a_structure_that_changes_is_refused(then, now, words):
    pair = pt.jax_trainable(lambda hp, key: then(), lambda carry, hp, steps, key: (now(), {"score": hp["lr"]}))
    with pytest.raises(pt.UsageError, match=words):
        run(pair, "vectorized")


class Optimizer(NamedTuple):
    init: object
    update: object


@jax.tree_util.register_dataclass
@dataclass
class State:
    params: object
    tx: object = field(default=None, metadata={"static": True})


@pytest.mark.parametrize("where", ["init", "train"])
def test_an_optimiser_that_is_made_in_every_call_is_named_and_answered(where):
    def made():
        return Optimizer(lambda: 0, lambda: 1)

    once = made()

    def init(hp, key):
        return {"state": State(jnp.zeros(2), made() if where == "init" else once)}

    def train(carry, hp, steps, key):
        return {"state": State(carry["state"].params, made())}, {"score": hp["lr"]}

    with pytest.raises(pt.UsageError) as caught:
        run(pt.jax_trainable(init, train), "vectorized")
    text = str(caught.value)
    assert "structure" in text and "carry['state'].tx, a static field of State, holds functions that were made anew" in text
    assert "Create it once, outside of init and train" in text and "optax.inject_hyperparams" in text and "0x" not in text
    files = [entry.filename for entry in traceback.extract_tb(caught.value.__traceback__)]
    assert not any("/jax/" in name for name in files) and caught.value.__cause__ is None
