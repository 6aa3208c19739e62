"""Trees of arrays, and what all agents do with them: take one member out, stack members, check that numbers are finite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from poptrain._jax import jax

Array: TypeAlias = jax.Array  # traced or on a device; functions that take one also take a numpy array
Tree: TypeAlias = Any  # nested dicts, lists and tuples of numpy or JAX arrays
Parts: TypeAlias = dict[str, Tree]  # a tree with named parts: one member's state, or the carry of a population
Scalars: TypeAlias = Mapping[str, Array]  # one member's hyperparameters, traced, shape () each


def take(tree: Tree, member: int) -> Tree:
    """Returns one member's part of a tree of arrays (P, …). The parts are views, not copies."""
    if isinstance(tree, dict):
        return {key: take(value, member) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(take(value, member) for value in tree)
    return np.asarray(tree)[member]


def stack(trees: Sequence[Tree]) -> Tree:
    """Returns one tree of arrays (P, …) from P trees of the same structure and shapes, as copies."""
    first = trees[0]
    if isinstance(first, dict):
        return {key: stack([tree[key] for tree in trees]) for key in first}
    if isinstance(first, (list, tuple)):
        return type(first)(stack(parts) for parts in zip(*trees, strict=True))
    return np.stack([np.asarray(tree) for tree in trees])


def all_finite(tree: Tree) -> bool:
    """Returns True if no array of the tree holds a NaN or an infinity."""
    if isinstance(tree, dict):
        return all(all_finite(value) for value in tree.values())
    if isinstance(tree, (list, tuple)):
        return all(all_finite(value) for value in tree)
    return bool(np.isfinite(tree).all())
