"""The vectorized executor and pure JAX pairs: one program for all members, and what a checkpoint of them holds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import poptrain as pt

jax = pytest.importorskip("jax")
jnp = jax.numpy

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), clip=pt.Uniform(0.1, 0.5))


class Adam(NamedTuple):
    """An optimiser state as optax writes them."""

    mean: jax.Array
    count: jax.Array


def init(hp, key):
    return {"theta": 0.9 + 0.01 * jax.random.normal(key, (3,)), "adam": Adam(jnp.zeros(3), jnp.int32(0))}


def train(carry, hp, steps, key):
    def step(_, state):
        theta, adam = state
        mean = 0.9 * adam.mean + 0.1 * jnp.clip(2 * theta, -1 / hp["clip"], 1 / hp["clip"])
        return theta - hp["lr"] * mean, Adam(mean, adam.count + 1)

    theta, adam = jax.lax.fori_loop(0, steps, step, (carry["theta"], carry["adam"]))
    return {"theta": theta, "adam": adam}, {"score": 1.2 - (theta**2).sum(), "norm": jnp.linalg.norm(theta)}


PAIR = pt.jax_trainable(init, train)


def run(executor, directory=None, population=8, steps=50, **options):
    algorithm = pt.pbt(SPACE, population=population, interval=10, exploit=pt.truncation(0.25), **options)
    return pt.run(algorithm, PAIR, stop=pt.steps(steps), executor=executor, directory=directory)


def test_equals_inline_to_float_precision():
    one, all_at_once = run("inline"), run("vectorized")
    assert [one.history.task(id) for id in range(one.history.n)] == [all_at_once.history.task(id) for id in range(one.history.n)]
    np.testing.assert_allclose(one.history.scores, all_at_once.history.scores, atol=1e-5)


def test_optimiser_states_of_named_tuples_come_back_as_they_were(tmp_path):
    made = run("vectorized", tmp_path / "r").best.load()
    opened = pt.open_run(tmp_path / "r", PAIR).best.load()
    assert isinstance(opened["adam"], Adam) and opened["adam"].count == made["adam"].count > 0
    np.testing.assert_array_equal(made["theta"], opened["theta"])


def test_resume_is_bit_equal_and_one_generation_is_one_commit(tmp_path):
    whole = run("vectorized")
    run("vectorized", tmp_path / "r", steps=20)
    resumed = run("vectorized", tmp_path / "r")
    np.testing.assert_array_equal(whole.history.scores, resumed.history.scores)
    assert len(list((tmp_path / "r" / "checkpoints").iterdir())) <= 2


def test_any_width_of_batch_gives_the_same_numbers():
    whole = run("vectorized")
    narrow = run(pt.executors.Vectorized(lanes=3))
    np.testing.assert_allclose(whole.history.scores, narrow.history.scores, atol=1e-6)


def test_asynchronous_batches_and_failed_members_do_not_compile_anew():
    compiled = []

    def counting(carry, hp, steps, key):
        compiled.append(steps)  # traced once a program
        carry, metrics = train(carry, hp, steps, key)
        return carry, {**metrics, "score": jnp.where(hp["lr"] > 0.05, jnp.nan, metrics["score"])}

    algorithm = pt.pbt(SPACE, population=8, interval=10, sync=False)
    pt.run(algorithm, pt.jax_trainable(init, counting), stop=pt.steps(100), executor="vectorized")
    assert len(compiled) <= 4


@pytest.mark.heavy
def test_static_hyperparameters_shape_arrays_and_are_grouped():
    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), width=pt.Ordinal(2, 4, 8, static=True), kind=pt.Choice("a", "b", static=True))

    def wide(hp, key):
        return {"theta": jnp.full(hp["width"], 0.9 if hp["kind"] == "a" else 0.8)}

    def shrink(carry, hp, steps, key):
        theta = carry["theta"] * (1 - hp["lr"]) ** steps
        return {"theta": theta}, {"score": 1.2 - (theta**2).mean()}

    algorithm = pt.pbt(space, population=9, interval=5, exploit=pt.truncation(0.3))
    ended = pt.run(algorithm, pt.jax_trainable(wide, shrink), stop=pt.steps(30), executor="vectorized")
    for seat in range(9):
        member = ended.member(seat)
        assert member.load()["theta"].shape == (member.hparams["width"],)


def test_what_one_program_has_trained_is_logged_before_the_next_is_compiled():
    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), width=pt.Ordinal(2, 4, static=True))

    def shrink(carry, hp, steps, key):
        return carry * (1 - hp["lr"]), {"score": carry.mean()}

    algorithm = pt.pbt(space, population=6, interval=1)
    pair = pt.jax_trainable(lambda hp, key: jnp.full(hp["width"], 0.9), shrink)
    history = pt.run(algorithm, pair, stop=pt.steps(2), executor="vectorized", progress=False).history
    lines = [history.line(number) for number in range(history.lines)]
    widths = [{history.task(result.task).hparams["width"] for result in line} for line in lines if hasattr(line[0], "score")]
    assert len(widths) == 4 and all(len(each) == 1 for each in widths), "two programs, and two generations"


def test_strings_that_cannot_be_traced_are_refused_with_the_fix():
    space = pt.Space(kind=pt.Choice("a", "b"), lr=pt.Uniform(0.1, 1))
    with pytest.raises(pt.UsageError, match="static=True"):
        pt.run(pt.pbt(space, population=4, interval=5), PAIR, stop=pt.steps(10), executor="vectorized")


def test_nan_stays_in_its_lane():
    def broken(carry, hp, steps, key):
        carry, metrics = train(carry, hp, steps, key)
        return carry, {**metrics, "score": jnp.where(hp["lr"] > 0.01, jnp.nan, metrics["score"])}

    algorithm = pt.pbt(SPACE, population=8, interval=10, explore=None)
    ended = pt.run(algorithm, pt.jax_trainable(init, broken), stop=pt.steps(50), executor="vectorized")
    assert all(ended.history.ok(int(id)) for id in ended.history.heads())


def test_nested_names_reach_the_functions_nested():
    space = pt.Space(optimizer={"lr": pt.LogUniform(1e-3, 1e-1)})

    def shrink(carry, hp, steps, key):
        return {"x": carry["x"] * (1 - hp["optimizer"]["lr"])}, {"score": -carry["x"]}

    pair = pt.jax_trainable(lambda hp, key: {"x": jnp.float32(1)}, shrink)
    for executor in ("inline", "vectorized"):
        assert pt.run(pt.pbt(space, population=2, interval=1), pair, stop=pt.steps(3), executor=executor).best.score > -1
