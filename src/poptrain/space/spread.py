"""Points that cover a cube evenly."""

from __future__ import annotations

import numpy as np


def latin_hypercube(generator: np.random.Generator, count: int, width: int) -> np.ndarray:
    """Returns uniform points, one in each of `count` slices of every column; shape (count, width)."""
    slices = np.argsort(generator.random((count, width)), axis=0)
    return (slices + generator.random((count, width))) / count
