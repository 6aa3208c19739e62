"""The time of a run counts what happens once only once, however little time a check has; what is rough is called so."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import poptrain as pt
from poptrain.core import clock

LAYERS = 200  # unrolled, so that compiling takes a hundred times as long as a step


def start(hparams, key):
    return jnp.ones((4, 4))


def train(carry, hparams, steps, key):
    def step(carry, _):
        for layer in range(LAYERS):
            carry = jnp.tanh(carry @ carry.T * hparams["lr"] + layer)
        return carry, None

    carry, _ = jax.lax.scan(step, carry, None, length=steps)
    return carry, {"score": carry.sum()}


@pytest.mark.parametrize("executor", ["vectorized", "inline"])
def test_compiling_counts_once_even_without_time_for_a_second_training(executor):
    algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=4, interval=3)
    experiment = pt.Experiment(algorithm, pt.jax_trainable(start, train), stop=pt.steps(300), executor=executor)
    found = pt.check(experiment, seconds=0.01).estimate
    assert found.start > 0.3, "it was compiled"
    assert found.seconds_per_task < found.start / 3
    assert found.slots == (4 if executor == "vectorized" else 1)


def slow(carry, hp, steps, seed):
    clock.sleep(0.1 * steps)
    return (carry or 0) + steps, {"score": float((carry or 0) + steps) * hp["lr"]}


@pytest.mark.parametrize(("limit", "rough"), [(5.0, True), (600.0, False)])
def test_a_time_measured_on_less_than_an_interval_is_called_rough(limit, rough):
    algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=4, interval=1000)
    with clock.use(clock.FakeClock()):
        found = pt.check(pt.Experiment(algorithm, slow, stop=pt.steps(10_000)), seconds=limit)
    assert found.estimate.rough == rough
    assert ("very roughly" in repr(found)) == rough
