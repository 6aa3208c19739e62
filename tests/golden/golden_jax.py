"""`climb` as a pure JAX pair. As in `golden_toys`, nothing here may be renamed, moved or rewritten."""

from __future__ import annotations

import jax
import jax.numpy as jnp

import poptrain as pt


def init(hp, key):
    return {"x": jnp.float32(1.0), "done": jnp.int32(0)}


def train(carry, hp, steps, key):
    noise = (key[1] % 1024).astype(jnp.float32) * 1e-6
    rate = hp["lr"] * (1 + hp.get("kind", 0) * (0.5 - carry["done"] / 40))
    x = jax.lax.fori_loop(0, steps, lambda _, x: x - 2 * rate * x + noise, carry["x"])
    return {"x": x, "done": carry["done"] + steps}, {"score": 1 - x**2, "x": x}


toy = pt.jax_trainable(init, train)
