"""Targets by rank: the Gaussian copula transform of BG-PBT (arXiv:2207.09405)."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from poptrain.algorithms.gp.rows import ROUND_DIGITS


def copula(values: np.ndarray) -> np.ndarray:
    """Returns Φ⁻¹(rank / (n + 1)) of finite values; equal values get the highest of their ranks. Shape (n,).

    The result depends on the order of the values alone, so a few huge ones do no harm. If all are equal, it is 0.

    >>> copula(np.array([3.0, 1.0, 2.0, 2.0, 10.0])).round(3).tolist()
    [0.431, -0.967, 0.0, 0.0, 0.967]
    """
    n = len(values)
    if not n or (values == values[0]).all():
        return np.zeros(n)
    ranks = np.searchsorted(np.sort(values), values, side="right")
    quantile = NormalDist().inv_cdf
    return np.array([quantile(rank / (n + 1)) for rank in ranks.tolist()]).round(ROUND_DIGITS)
