"""A random stream for each member: PyTorch's, numpy's and Python's global generators, put in place while it trains."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def stream(member: Any, seed: int | None = None) -> Iterator[None]:
    """Runs with the member's own random stream and puts the process's back, so that members cannot disturb each other."""
    outside = _get_random()
    try:
        if seed is not None:
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
        else:
            _set_random(member._random)
        yield
        member._random = _get_random()
    finally:
        _set_random(outside)


def _get_random() -> dict[str, Any]:
    kind, words, *rest = np.random.get_state()
    state = {"torch": torch.get_rng_state(), "numpy": (kind, words.copy(), *rest), "python": random.getstate()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_random(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    np.random.set_state(state["numpy"])
    random.setstate(state["python"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
