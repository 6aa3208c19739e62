"""A random stream for each member: PyTorch's, numpy's and Python's global generators are set to it while the member trains."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NotRequired, Protocol, TypedDict, cast

import numpy as np
import torch
from numpy.typing import NDArray

from poptrain.core.errors import UsageError

NumpyState = tuple[str, NDArray[np.uint32], int, int, float]


class Generators(TypedDict):
    """The states of all generators, in the form that a checkpoint holds."""

    torch: torch.Tensor
    numpy: NumpyState
    python: tuple[object, ...]
    cuda: NotRequired[torch.Tensor]


class HasStream(Protocol):
    """A member that keeps the state of its random stream while it does not train."""

    _random: Generators | None


@contextmanager
def stream(member: HasStream, seed: int | None = None) -> Iterator[None]:
    """Uses the member's own random stream inside the ``with`` block and restores the process's, so members stay independent.

    `seed` begins a new stream; None continues the member's.
    """
    outside = _get_generators()
    try:
        if seed is not None:
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
        elif member._random is None:
            raise UsageError(f"{type(member).__name__} has no random stream: define __init__(hp, seed) in the class itself.")
        else:
            _set_generators(member._random)
        yield
        member._random = _get_generators()
    finally:
        _set_generators(outside)


def _get_generators() -> Generators:
    kind, words, *rest = np.random.get_state()
    numpy = cast(NumpyState, (kind, np.array(words), *rest))
    state: Generators = {"torch": torch.get_rng_state(), "numpy": numpy, "python": random.getstate()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_generators(state: Generators) -> None:
    torch.set_rng_state(state["torch"])
    np.random.set_state(state["numpy"])
    random.setstate(state["python"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
