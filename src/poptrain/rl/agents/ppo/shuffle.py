"""A shuffled order of n rows without a sort: the affine bijection i -> (offset + stride * i) mod n.

The stride is a prime greater than any n, so it has no factor in common with n and every row is visited once. The order
takes n as a traced value and is cheap to walk; stride and offset are drawn again for every epoch. A minibatch is an
arithmetic progression through the batch, which spreads it over all environments and times.
"""

from __future__ import annotations

from random import Random

import numpy as np

from poptrain._jax import jax, jnp
from poptrain.rl.trees import Array

MAX_ROWS = 1 << 21  # every prime of the table is greater
MAX_CHUNK = 1 << 10  # rows that `walk_order` returns at once: position + stride * chunk must fit into 32 bits


def _draw_primes(count: int) -> np.ndarray:
    draw = Random(0).randrange  # a constant table: the same on every machine
    found: list[int] = []
    while len(found) < count:
        candidate = draw(MAX_ROWS, 1 << 31) | 1
        if _is_prime(candidate):
            found.append(candidate)
    return np.asarray(found, np.uint32)


def _is_prime(n: int) -> bool:
    """Miller-Rabin with bases 2, 3, 5, 7: exact below 3,215,031,751."""
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7):
        x = pow(base, odd, n)
        if x in (1, n - 1):
            continue
        if not any((x := x * x % n) == n - 1 for _ in range(twos - 1)):
            return False
    return True


PRIMES = _draw_primes(512)


def draw_order(key: Array, n: Array) -> tuple[Array, Array]:
    """Returns (offset, stride) of a fresh order of n rows, both below n; uint32 scalars."""
    bits = jax.random.bits(key, (2,), jnp.uint32)
    n = n.astype(jnp.uint32)
    return bits[0] % n, jnp.asarray(PRIMES)[bits[1] % len(PRIMES)] % n


def walk_order(position: Array, stride: Array, n: Array, chunk: int) -> tuple[Array, Array]:
    """Returns the next `chunk` rows of the order, shape (chunk,) int32, and the position after them."""
    n = n.astype(jnp.uint32)
    rows = (position + stride * jnp.arange(chunk, dtype=jnp.uint32)) % n
    return rows.astype(jnp.int32), (position + stride * jnp.uint32(chunk)) % n


def times(stride: Array, count: Array, n: Array) -> Array:
    """Returns stride * count mod n, for count <= n; in two halves, because the product may exceed 32 bits."""
    n, count = n.astype(jnp.uint32), count.astype(jnp.uint32)
    coarse = stride * jnp.uint32(MAX_CHUNK) % n
    return (coarse * (count // MAX_CHUNK) % n + stride * (count % MAX_CHUNK) % n) % n
