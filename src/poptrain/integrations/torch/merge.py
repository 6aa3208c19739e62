"""What a copy with other hyperparameters takes over: what training changed, and nothing else.

A value is known three times: as ``__init__`` of the parent built it, as ``__init__`` of the copy built it with the same seed,
and as it is now in the parent. A value that training did not touch is a matter of the hyperparameters, so the copy keeps its own.
A value that training changed is state, so the copy takes it; a number that both changed keeps the factor (a rate that was decayed
by hand).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np
import torch

from poptrain.integrations.torch.tree import MADE, Fields

Values = Any  # a tree of plain values, tensors and arrays
SMALL = 4096  # elements of a tensor that may depend on a hyperparameter, such as class weights; larger ones are weights


def merged(built: Values, fresh: Values, now: Values) -> Values:
    """Returns the values of a copy.

    Args:
        built: what ``__init__`` of the parent made, as `outline` returns it.
        fresh: what ``__init__`` of the copy made, as `outline` returns it.
        now: what the parent has after training.

    >>> merged({"lr": 0.1, "steps": 0}, {"lr": 0.2, "steps": 0}, {"lr": 0.05, "steps": 7})
    {'lr': 0.1, 'steps': 7}
    """
    if all(isinstance(each, Fields) for each in (built, fresh, now)) and built.kind == fresh.kind == now.kind:
        return replace(now, values=merged(built.values, fresh.values, now.values))
    if all(isinstance(each, Mapping) for each in (built, fresh, now)):
        kept = {
            key: merged(built[key], fresh[key], value) if key in built and key in fresh else value
            for key, value in now.items()
            if key not in built or key in fresh or not same(built[key], value)
        }
        return {**{key: MADE for key in fresh if key not in built and key not in now}, **kept}
    if all(isinstance(each, (list, tuple)) for each in (built, fresh, now)) and len(built) == len(fresh) == len(now):
        items = [merged(*three) for three in zip(built, fresh, now, strict=True)]
        return type(now)._make(items) if hasattr(now, "_make") else type(now)(items)
    return taken(built, fresh, now)


def taken(built: Values, fresh: Values, now: Values) -> Values:
    """Returns a single value of a copy."""
    if same(built, now):
        return MADE if isinstance(fresh, type(MADE)) else fresh
    if all(isinstance(each, float) for each in (built, fresh, now)) and built != fresh and built and isfinite(fresh / built):
        return now * (fresh / built)
    return now


def same(one: Values, other: Values) -> bool:
    """True if two values are equal in type and value; NaN equals itself."""
    if isinstance(one, torch.Tensor) or isinstance(other, torch.Tensor):
        alike = isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor) and one.shape == other.shape
        return alike and one.dtype == other.dtype and torch.equal(one.detach().cpu(), other.detach().cpu())
    if isinstance(one, (np.ndarray, np.generic)) or isinstance(other, (np.ndarray, np.generic)):
        return type(one) is type(other) and np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f")
    if isinstance(one, Fields) and isinstance(other, Fields):
        return one.kind == other.kind and same(one.values, other.values)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple, deque)) and isinstance(other, (list, tuple, deque)):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other or (one != one and other != other))


def outline(value: Values) -> Values:
    """Returns a copy of built values for `merged`; a large tensor is left out, so that it counts as changed by training."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone() if value.numel() <= SMALL else None
    if isinstance(value, np.ndarray):
        return value.copy() if value.size <= SMALL else None
    if isinstance(value, Fields):
        return Fields(value.kind, outline(value.values))
    if isinstance(value, Mapping):
        return {key: outline(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(outline, value))
    return deque(value, value.maxlen) if isinstance(value, deque) else value
