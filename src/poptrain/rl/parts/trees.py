"""Trees of numpy arrays with a leading axis of members: taking one out, putting many together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def take(tree: Any, member: int) -> Any:
    """Returns one member's part of a tree of arrays (P, …); views, not copies."""
    if isinstance(tree, dict):
        return {key: take(value, member) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(take(value, member) for value in tree)
    return np.asarray(tree)[member]


def stack(trees: Sequence[Any]) -> Any:
    """Returns one tree of arrays (P, …) of P equal trees; copies."""
    first = trees[0]
    if isinstance(first, dict):
        return {key: stack([tree[key] for tree in trees]) for key in first}
    if isinstance(first, (list, tuple)):
        return type(first)(stack(parts) for parts in zip(*trees, strict=True))
    return np.stack([np.asarray(tree) for tree in trees])


def all_finite(tree: Any) -> bool:
    """True if no array of the tree holds a NaN or an infinity."""
    if isinstance(tree, dict):
        return all(all_finite(value) for value in tree.values())
    if isinstance(tree, (list, tuple)):
        return all(all_finite(value) for value in tree)
    return bool(np.isfinite(tree).all())
