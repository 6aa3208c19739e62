"""Packing: a carry of JAX as a list of plain arrays, and back. A node of JAX becomes its leaves, a random key its words."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from poptrain._jax import jax
from poptrain.core import Carry
from poptrain.core.errors import UsageError
from poptrain.executors.unlike import unlike

Tree = Any  # JAX's PyTreeDef
Kind = Hashable | None  # of a leaf: the generator of a typed random key; None: an array


@dataclass(frozen=True)
class Packing:
    """How a carry is made of its leaves."""

    tree: Tree
    kinds: tuple[Kind, ...]

    @classmethod
    def of(cls, init: Callable[..., Carry], *args: object) -> Packing | None:
        """Returns the packing of the carries that `init` returns, found by tracing it; None if they need none."""
        kinds: list[Kind] = []

        def traced(*args: object) -> Carry:
            carry = checked(init(*args), "init")
            kinds[:] = [_kind(leaf) for leaf in jax.tree.leaves(carry)]
            return carry

        carry = jax.eval_shape(traced, *args)
        return None if _is_plain(carry) and not any(kinds) else cls(jax.tree.structure(carry), tuple(kinds))

    def packed(self, carry: Carry, function: str) -> list[jax.Array]:
        """Returns the leaves as arrays.

        Args:
            function: that has returned the carry, for the message.

        Raises:
            UsageError: the carry has another structure than the one that `init` returned.
        """
        leaves, tree = jax.tree.flatten(carry)
        if tree != self.tree:
            who = "two calls of init returned carries" if function == "init" else f"{function} returned a carry"
            than = "different structure" if function == "init" else "another structure than init did"
            raise UsageError(f"{who} of {than}: {unlike(self.tree, tree)}")
        return [jax.random.key_data(leaf) if kind else strong(leaf) for leaf, kind in zip(leaves, self.kinds, strict=True)]

    def unpacked(self, leaves: list[Carry]) -> Carry:
        """Returns the carry that was packed."""
        made = [
            jax.random.wrap_key_data(jax.numpy.asarray(leaf), impl=kind) if kind else leaf
            for leaf, kind in zip(leaves, self.kinds, strict=True)
        ]
        return jax.tree.unflatten(self.tree, made)


def checked(carry: Carry, function: str) -> Carry:
    """Returns a carry that a user's function has returned.

    Raises:
        UsageError: it holds something that JAX cannot compute with; the message has its path.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(carry):
        if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, bool, int, float, complex)) or _no_numbers(leaf):
            raise UsageError(
                f"{function} returned a carry in which carry{jax.tree_util.keystr(path)} is {_described(leaf)}: expected "
                "arrays and numbers. Keep other values outside of it, or as static fields of a registered node."
            )
    return carry


def strong(tree: Carry) -> Carry:
    """Returns a carry whose arrays have no weak types: these would be lost in a checkpoint, and they change arithmetic."""
    return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, jax.numpy.result_type(leaf)), tree)


def _kind(leaf: Carry) -> Kind:
    """Returns the generator of a typed random key; None for an array."""
    is_key = isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_impl(leaf) if is_key else None


def _is_plain(tree: Carry) -> bool:
    """True if a carry consists of dicts, lists and tuples, as a checkpoint does."""
    if type(tree) is dict:
        return all(type(key) is str and _is_plain(value) for key, value in tree.items())
    if type(tree) in (list, tuple):
        return all(map(_is_plain, tree))
    return tree is None or isinstance(tree, jax.ShapeDtypeStruct)


def _described(leaf: object) -> str:
    kind = type(leaf).__qualname__
    return f"{kind} of {leaf.dtype}" if isinstance(leaf, (np.ndarray, np.generic)) else kind


def _no_numbers(leaf: object) -> bool:
    """True for an array of a type that JAX does not have: texts, dates, records, another byte order, more than 8 bytes."""
    if not isinstance(leaf, (np.ndarray, np.generic)):
        return False
    dtype = leaf.dtype
    long = dtype in (np.longdouble, np.clongdouble) and dtype not in (np.float64, np.complex128)
    return dtype.kind not in "biufcV" or dtype.names is not None or not dtype.isnative or long
