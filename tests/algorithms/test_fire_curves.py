"""The comparison of two curves, against the vectors of the specification (sections 1.3, 1.5 and 1.9 of `algorithms_rl.md`)."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poptrain.algorithms.fire.curves import (
    MOST_POINTS,
    TrainingCurve,
    best_score_diff,
    binomial_p,
    curve_sign_test,
    mended,
    overlap,
    smooth,
)
from poptrain.core.rng import rng


def plain(scores):
    """A curve with the identity as its smoother."""
    return TrainingCurve(np.array(scores, float), np.array(scores, float))


def noisy(*key):
    """A smoothed rising curve with noise, of a length, height and speed of its own."""
    draw = rng(0, "curve", *key)
    n = int(draw.integers(2, 60))
    return draw.normal() + draw.uniform(0, 2) * np.sqrt(np.arange(n)) / 4 + draw.normal(size=n) * 0.1


# -- overlap and best_score_diff --------------------------------------------------------------------------------------


def test_the_overlap_is_as_long_as_the_shorter_remainder():
    assert best_score_diff(plain([0, 1, 2, 3, 4, 5]), plain([2, 2.5, 3])) == 1.0  # the printed max would give 2.0
    assert tuple(overlap(plain([0, 1, 2, 3, 4, 5]), plain([2, 2.5, 3]))) == (2, 0, 2)
    assert tuple(overlap(plain([2, 2.5, 3]), plain([0, 1, 2, 3, 4, 5]))) == (0, 2, 2)


def test_equal_starts_overlap_from_the_start_and_one_point_is_no_overlap():
    assert tuple(overlap(plain([1, 2, 3]), plain([1, 0, 0, 0]))) == (0, 0, 2)
    assert overlap(plain([1]), plain([1, 2])) is None
    assert overlap(plain([0, 1, 2]), plain([2, 3])) is None  # reached with its last point
    assert overlap(plain([0, 1]), plain([5, 6])) is None


@pytest.mark.parametrize(
    "a, b, difference",
    [
        ([10, 11, 12, 13], [0, 0, 0, 0], 3),  # flat and low: the degenerate curve that the case is for
        ([10, 10, 10, 10], [0, 1, 2, 3], 0),  # higher, but not faster
        ([10, 14, 15, 16], [0, 1, 2, 3], 3),
        ([5, 5, 5], [5, 5, 5], 0),
        ([0, 9, 0, 9], [1, 2, 3, 4], 6),  # an overlap: raw ranges intersect
    ],
)
def test_a_strictly_higher_curve_must_also_rise_faster(a, b, difference):
    assert best_score_diff(plain(a), plain(b)) == pytest.approx(difference)
    assert best_score_diff(plain(b), plain(a)) == pytest.approx(-difference)


def test_curves_that_neither_overlap_nor_are_apart_say_nothing():
    a = TrainingCurve(np.array([0.0, 3.0, 0.0]), np.array([1.0, 1.0, 1.0]))
    b = TrainingCurve(np.array([2.0, 2.0, 2.0]), np.array([2.0, 2.0, 2.0]))
    assert overlap(a, b) is None and best_score_diff(a, b) == 0.0


@pytest.mark.parametrize("make", [plain, TrainingCurve.of], ids=["identity", "process"])
def test_antisymmetric_and_equivariant_to_shifts_and_scales(make):
    seen = set()
    for key in range(200):
        a, b = noisy(key, "a"), noisy(key, "b")
        if key % 4 == 0:
            b = b - 8  # apart
        found = best_score_diff(make(a), make(b))
        assert best_score_diff(make(b), make(a)) == -found
        assert best_score_diff(make(a), make(a)) == 0
        assert best_score_diff(make(a + 1), make(b + 1)) == pytest.approx(found, abs=1e-9)
        assert best_score_diff(make(4 * a), make(4 * b)) == pytest.approx(4 * found, abs=1e-9)
        seen.add(int(np.sign(found)))
    assert seen == {-1, 0, 1}


@settings(derandomize=True, deadline=None, max_examples=200)
@given(*2 * [st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, float("nan"), float("inf"), float("-inf")]), min_size=1, max_size=9)])
def test_whatever_the_curves_are_the_answer_is_finite_and_antisymmetric(a, b):
    a, b = TrainingCurve.of(a), TrainingCurve.of(b)
    assert np.isfinite(best_score_diff(a, b)) and best_score_diff(a, b) == -best_score_diff(b, a)
    p = curve_sign_test(a, b)
    assert p is None or 0 < p <= 1


def test_what_is_not_finite_is_a_standard_deviation_below_the_rest():
    assert mended([0, float("nan"), 2, float("inf")]).tolist() == [0, -1, 2, -1]
    assert mended([float("nan")]).tolist() == [0]
    good, bad = [1, 2, 3, 4, 5], [1, 2, float("nan"), float("nan"), float("nan")]
    assert best_score_diff(plain(good), plain(mended(bad))) > 0


# -- the binomial test ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "n, k, p",
    [(7, 7, 0.0078125), (12, 11, 0.0032), (12, 6, 0.6128), (24, 14, 0.2706), (24, 19, 0.0033), (36, 26, 0.0057), (0, 0, 1)],
)  # fmt: skip
def test_binomial_reproduces_the_table(n, k, p):
    assert binomial_p(k, n) == pytest.approx(p, abs=5e-5)


def test_the_fewest_wins_that_are_significant():
    least = {n: next((k for k in range(n + 1) if binomial_p(k, n) < 0.01), None) for n in (6, 7, 10, 12, 24, 36, 48)}
    assert least == {6: None, 7: 7, 10: 10, 12: 11, 24: 19, 36: 26, 48: 33}


def test_binomial_agrees_with_scipy():
    from scipy.stats import binom

    for n in (1, 5, 40, 300):
        for k in range(0, n + 1, max(1, n // 7)):
            assert binomial_p(k, n) == pytest.approx(float(binom.sf(k - 1, n, 0.5)), rel=1e-9)


def test_the_sign_test_drops_ties_and_the_start_points():
    assert curve_sign_test(plain([9, 2, 2, 2]), plain([9, 1, 2, 3])) == binomial_p(1, 2)
    assert curve_sign_test(plain([1, 1, 1]), plain([1, 1, 1])) == 1
    assert curve_sign_test(plain([0, 0]), plain([5, 5])) is None
    rising = [0.1 * i for i in range(8)]
    assert curve_sign_test(plain(rising), plain([0.0, *[-1.0] * 7])) == 0.0078125
    assert curve_sign_test(plain([0.0, *[-1.0] * 7]), plain(rising)) == 1.0  # one-sided: who always loses is not significant


# -- the smoother -----------------------------------------------------------------------------------------------------


def test_the_smoother_takes_noise_away_and_leaves_a_smooth_curve_alone():
    for n in (24, 60, MOST_POINTS, 600):
        truth = np.sqrt(np.arange(n))
        assert np.abs(smooth(truth) - truth).max() < 0.05 * truth.max()
        errors = []
        for key in range(10):
            y = truth + 0.3 * rng(key, "noise", n).normal(size=n)
            errors.append((np.std(y - truth), np.std(smooth(y) - truth)))
        before, after = np.mean(errors, axis=0)
        assert after < 0.75 * before


def test_the_smoother_is_the_posterior_mean_of_a_matern_process_of_the_largest_likelihood():
    y = np.sin(np.arange(20) / 4) + 0.2 * rng(1, "noise").normal(size=20)
    z = (y - y.mean()) / y.std()
    fits = []
    for length in [2.0**power for power in range(6)]:
        u = np.sqrt(5) * np.abs(np.subtract.outer(np.arange(20), np.arange(20))) / length
        kernel = (1 + u + u**2 / 3) * np.exp(-u)
        for noise in np.logspace(-6, 1, 15):
            noisy_kernel = kernel + noise * np.eye(20)
            s2 = z @ np.linalg.solve(noisy_kernel, z) / 20
            likelihood = -0.5 * (20 * np.log(s2) + np.linalg.slogdet(noisy_kernel)[1])
            fits.append((likelihood, kernel @ np.linalg.solve(noisy_kernel, z)))
    expected = max(fits, key=lambda fit: fit[0])[1]
    assert smooth(y) == pytest.approx(y.mean() + y.std() * expected, abs=1e-8)


def test_short_and_flat_curves_stay_as_they_are():
    assert smooth([1.0, 5.0, 2.0]).tolist() == [1, 5, 2]
    assert smooth([3.0] * 9).tolist() == [3.0] * 9


def test_smoothing_is_cheap_at_every_length():
    smooth(np.arange(1000.0) ** 0.5)
    began = time.process_time()
    for _ in range(20):
        smooth(rng(0, "long").normal(size=1000))
    assert (time.process_time() - began) / 20 < 0.02
