"""A random stream of numpy and Python for each member of a framework that is not PyTorch."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

Generators = dict[str, Any]  # the states of the generators, as a checkpoint holds them


class HasGenerators(Protocol):
    """A member that keeps the states of its generators while it does not train."""

    _random: Generators | None


@contextmanager
def stream(member: HasGenerators, seed: int | None = None) -> Iterator[None]:
    """Uses the member's own random stream inside the ``with`` block, and restores that of the process.

    `seed` begins a new stream; None continues the member's.
    """
    outside = read_generators()
    try:
        if seed is not None:
            np.random.seed(seed % 2**32)
            random.seed(seed)
        elif member._random is not None:
            put_generators(member._random)
        yield
        member._random = read_generators()
    finally:
        put_generators(outside)


def read_generators() -> Generators:
    """Returns the states of the global generators of numpy and Python."""
    kind, words, *rest = np.random.get_state()
    version, state, gauss = random.getstate()
    return {"numpy": [kind, np.array(words), *rest], "python": [version, np.array(state, np.uint32), gauss]}


def put_generators(state: Generators) -> None:
    """Sets the global generators of numpy and Python."""
    kind, words, *rest = state["numpy"]
    np.random.set_state((kind, np.asarray(words, np.uint32), *rest))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(int(word) for word in words), gauss))
