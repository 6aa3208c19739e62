"""Epochs and minibatches of N particles side by side: minibatch j of each is taken at the same time, from its own table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from poptrain._jax import jax, jnp
from poptrain.rl.agents.ppo.shuffle import draw_order, times, walk_order
from poptrain.rl.loops.device_interval import accelerated
from poptrain.rl.trees import Array, Tree

Own = Callable[[Array, Array, Array], Tree]  # (particle, rows (B,), weights (B,)) -> what is summed over the minibatch


class Gradients(Protocol):
    """Sums over the running minibatch of every particle."""

    def __call__(self, own: Own, zero: Tree) -> Tree:
        """Returns the sums of what `own` returns, leading with (N,); `zero` has their shapes."""
        ...


def each(function: Callable[..., Tree], *columns: Array) -> Tree:
    """Returns what a function makes of every row of some columns: one after another on CPUs, else all together."""
    if accelerated():
        return jax.vmap(function)(*columns)
    return jax.lax.map(lambda row: function(*row), columns)


class Walk:
    """How the particles go through their tables, in chunks of a fixed number of rows, whose gradients are summed.

    Args:
        n: transitions of each particle, (N,).
        chunk: rows at once.
    """

    def __init__(self, n: Array, chunk: int):
        self.n, self.chunk, self.particles = n, chunk, jnp.arange(len(n))

    def steps(
        self, step: Callable[[Tree, Gradients], Tree], carry: Tree, epochs: Array, minibatch: Array | None, key: Array
    ) -> Tree:
        """Returns the carry after one `step` for each minibatch of each epoch.

        Args:
            minibatch: its rows; None: the whole batch is one minibatch. The rows that fill no minibatch are left out of an epoch.
        """
        sizes = self.n if minibatch is None else jnp.clip(minibatch, 1, self.n)
        trips = jnp.maximum((self.n // sizes).min(), 1)

        def epoch(i: Array, carry: Tree) -> Tree:
            keys = jax.random.split(jax.random.fold_in(key, i), len(self.n))
            position, stride = jax.vmap(draw_order)(keys, self.n)
            ahead = jax.vmap(times)(stride, sizes, self.n)

            def one(_: Array, inner: Tree) -> Tree:
                carry, position = inner
                carry = step(carry, lambda own, zero: self._summed(own, zero, position, stride, sizes))
                return carry, (position + ahead) % self.n.astype(jnp.uint32)

            return jax.lax.fori_loop(0, trips, one, (carry, position))[0]

        return jax.lax.fori_loop(0, epochs, epoch, carry)

    def _summed(self, own: Own, zero: Tree, position: Array, stride: Array, sizes: Array) -> Tree:
        chunks = -(-sizes.max() // self.chunk)

        def part(j: Array, inner: Tree) -> Tree:
            sums, position = inner
            rows, position = jax.vmap(lambda *at: walk_order(*at, self.chunk))(position, stride, self.n)
            inside = j * self.chunk + jnp.arange(self.chunk) < sizes[:, None]
            more = each(own, self.particles, rows, jnp.where(inside, 1.0, 0.0) / sizes[:, None])
            return jax.tree.map(jnp.add, sums, more), position

        return jax.lax.fori_loop(0, chunks, part, (zero, position))[0]
