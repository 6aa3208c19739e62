"""Typed random keys of JAX (`jax.random.key`) in carries: their words are stored, with the name of their generator."""

from __future__ import annotations

from typing import Any

import numpy as np

from poptrain.core import Carry


def generator_of(leaf: Carry) -> str | None:
    """Returns the name of a key's generator, such as "threefry2x32"; None for everything else. It does not import JAX."""
    if type(leaf).__module__.partition(".")[0] not in ("jax", "jaxlib") or not str(getattr(leaf, "dtype", "")).startswith("key<"):
        return None
    from poptrain._jax import jax

    name = jax.random.key_impl(leaf)
    return name if isinstance(name, str) else None  # a generator of the user's own has no name to find it by


def words(key: Carry) -> np.ndarray[Any, np.dtype[Any]]:
    """Returns the words of keys, uint32: the shape of the keys, and one more axis."""
    from poptrain._jax import jax

    return np.asarray(jax.random.key_data(key))


def typed(stored: np.ndarray[Any, np.dtype[Any]], generator: str) -> Carry:
    """Returns keys from their words."""
    from poptrain._jax import jax

    return jax.random.wrap_key_data(jax.numpy.asarray(stored), impl=generator)
