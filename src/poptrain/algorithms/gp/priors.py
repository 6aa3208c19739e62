"""The parameters of a kernel: where the search for them starts, its bounds, and weak priors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Hyper(NamedTuple):
    """One parameter of a kernel on its unconstrained scale: starts of the search, bounds, and a weak Gaussian prior."""

    name: str
    starts: tuple[float, float]
    low: float
    high: float
    mean: float
    sd: float


def logarithm(name: str, value: float, other: float, low: float, high: float, sd: float) -> Hyper:
    """Returns the logarithm of a positive parameter: two starts, bounds, and the sd of its prior around the first start."""
    start, second, lowest, highest = np.log([value, other, low, high]).tolist()
    return Hyper(name, (start, second), lowest, highest, start, sd)


def hypers_of(names: tuple[str, ...]) -> tuple[Hyper, ...]:
    apart = [Hyper(name, (0.0, 0.0), -3.0, 3.0, 0.0, 0.25) for name in names]
    return (logarithm("variance", 1.0, 1.0, 0.05, 1000.0, 2.0), logarithm("length", 0.5, 1.0, 0.05, 10.0, 1.0), *apart)


def epsilon_of(name: str) -> Hyper:
    return Hyper(name, (-1.386, -4.0), -9.0, 4.0, -5.0, 2.0)  # starts at ε = 0.1 and 0.009; between 6e-5 and 0.49
