"""Laws of BG-PBT's model and search at their ends, where they become plainer ones (section 6.5 of the specification)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

import poptrain as pt
from poptrain.algorithms.bg_pbt.explore import LocalSearch
from poptrain.algorithms.gp import posterior as gp
from poptrain.algorithms.gp.kernels import Inputs
from poptrain.algorithms.gp.matern import MaternOverlap
from poptrain.algorithms.gp.rows import Rows
from poptrain.core.protocols import Clone
from poptrain.core.rng import rng
from poptrain.testing import play
from poptrain.testing.simulate import by_hparams

NUMBERS = pt.Space(x=pt.Uniform(0.0, 1.0), y=pt.LogUniform(1e-3, 1.0))
OPEN = pt.TrustRegion(length=4, least=4, most=4)


def matern(r):
    return (1 + np.sqrt(5) * r + 5 / 3 * r * r) * np.exp(-np.sqrt(5) * r)


def inputs(g, categories=2, rows=30):
    return Inputs(np.arange(rows) / 3, g.random((rows, 3)), g.integers(0, 3, (rows, categories)))


def drawn(kernel, g):
    """Returns parameters between the ends of their ranges."""
    return np.array([g.uniform(hyper.low, hyper.high) for hyper in kernel.hypers])


@pytest.mark.parametrize("seed", range(2))
def test_opened_to_the_whole_space_a_proposal_is_the_maximum_of_a_plain_search_with_a_matern_process(seed):
    history = play(pt.bg_pbt(NUMBERS, population=6, interval=1, trust_region=OPEN), by_hparams, seed=seed, budget=8)
    heads = history.heads()
    parent = int(heads[np.argmax(history.scores[heads])])
    clone = Clone(history.n, (history.task(parent).member + 1) % 6, parent, history.task(parent).hparams)
    search = LocalSearch(1, 100, 9.0, OPEN)
    (made,) = search.propose(history, NUMBERS, [clone])
    assert made.forecast.source == "model"
    rows = Rows.of(history, NUMBERS, 1, 100, (), context=False, shared_noise=True, robust=True)
    with gp.one_thread():
        model = search._observe(rows, [clone])
    theta, kernel = model.own.theta[:-1], model.own.kernel
    a, b = model.inputs, model.inputs.rows(slice(0, 5))
    r = np.sqrt((((a.units[:, None] - b.units[None]) / kernel.lengths(theta)) ** 2).sum(2))
    drift = (1 - kernel.readable(theta)["forgetting"]) ** (abs(a.time[:, None] - b.time[None]) / 2)
    assert np.allclose(kernel.matrix(theta, a, b), kernel.variance(theta) * drift * matern(r))

    def bound(u):
        at = rows.at(np.array([parent]), np.asarray(u)[None])
        mean, sd = model.own.ask(at)
        return float(mean[0] + 3 * sd[0])

    g = rng(seed, "starts")
    starts = [*g.random((40, 2)), *((x, y) for x in (0, 1) for y in (0, 1))]
    ends = [minimize(lambda u: -bound(u), start, method="L-BFGS-B", bounds=[(0, 1)] * 2) for start in starts]
    best, spread = max(-end.fun for end in ends), np.ptp([bound(start) for start in starts])
    found = bound(NUMBERS.encode(made.hparams))
    assert best - 0.01 * spread <= found <= best + 0.01 * spread


def test_without_forgetting_the_process_does_not_change_in_time_and_what_it_forgets_is_only_older():
    g = rng(0, "forgetting")
    z, kernel = inputs(g), MaternOverlap(("a", "b", "c"), 2)
    still = Inputs(np.zeros(len(z)), z.units, z.categories)
    for _ in range(5):
        theta = drawn(kernel, g)
        static = kernel.matrix(theta, still, still)
        theta[-2] = -40.0  # ε = 0
        assert np.allclose(kernel.matrix(theta, z, z), static, rtol=1e-9)
        theta[-2] = 0.0
        assert (kernel.matrix(theta, z, z) <= static + 1e-12).all()
        assert np.allclose(np.diag(kernel.matrix(theta, z, z)), np.diag(static))


def test_the_covariance_is_positive_semidefinite_wherever_its_parameters_are_in_their_ranges():
    g = rng(0, "definite")
    for categories in (0, 2):
        kernel = MaternOverlap(("a", "b", "c"), categories)
        low = np.array([hyper.low for hyper in kernel.hypers])
        high = np.array([hyper.high for hyper in kernel.hypers])
        for theta in [low, high, *(np.where(g.random(len(low)) < 0.5, low, high) for _ in range(20)), drawn(kernel, g)]:
            z = inputs(g, categories)
            k = kernel.matrix(theta, z, z)
            assert np.allclose(k, k.T) and np.allclose(np.diag(k), kernel.variance(theta))
            assert np.linalg.eigvalsh(k).min() > -1e-9 * kernel.variance(theta) * len(z)


def test_at_the_ends_of_the_mixing_the_kernel_is_the_mean_or_the_product():
    g = rng(0, "mixing")
    z, kernel = inputs(g), MaternOverlap(("a", "b", "c"), 2)
    theta = drawn(kernel, g)
    theta[-2] = -40.0
    r = np.sqrt((((z.units[:, None] - z.units[None]) / kernel.lengths(theta)) ** 2).sum(2))
    differ = (z.categories[:, None] != z.categories[None]) * kernel.weights(theta)
    numbers, overlap = matern(r), np.exp(-differ.sum(2) / 2)
    for mixing, expected in ((-60.0, (numbers + overlap) / 2), (60.0, numbers * overlap)):
        theta[-1] = mixing
        assert np.allclose(kernel.matrix(theta, z, z), kernel.variance(theta) * expected)
