"""The quadratic as a pure JAX pair, for the contract of the executors; a module of its own, so that workers import it by name."""

from __future__ import annotations

from poptrain import jax_trainable
from poptrain._jax import jax, jnp
from poptrain.testing.trainables import FAULTY_ABOVE


def init(hp, key):
    return {"theta": jnp.float32(0.9) + _noise(key), "steps": jnp.int32(0)}


def _noise(key):
    """A little that depends on the seed, and compiles faster than `jax.random`."""
    return (key[1] % 1024).astype(jnp.float32) * 1e-7


def train(carry, hp, steps, key):
    def step(index, theta):
        return theta - 2 * hp["lr"] * theta + _noise(key)

    theta = jax.lax.fori_loop(0, steps, step, carry["theta"])
    return {"theta": theta, "steps": carry["steps"] + steps}, {"score": 1.2 - theta**2, "theta": theta}


def _scored(value):
    def faulty(carry, hp, steps, key):
        carry, metrics = train(carry, hp, steps, key)
        return carry, {**metrics, "score": jnp.where(hp["lr"] > FAULTY_ABOVE, value, metrics["score"])}

    return faulty


def missing(carry, hp, steps, key):
    carry, metrics = train(carry, hp, steps, key)
    return carry, {"sore": metrics["score"]}


def array(carry, hp, steps, key):
    carry, metrics = train(carry, hp, steps, key)
    return carry, {"score": jnp.full(2, metrics["score"])}


toy = jax_trainable(init, train)
FAULTY = {"nan": jax_trainable(init, _scored(jnp.nan)), "inf": jax_trainable(init, _scored(jnp.inf))}
MEASURING = {"missing": jax_trainable(init, missing), "array": jax_trainable(init, array)}
