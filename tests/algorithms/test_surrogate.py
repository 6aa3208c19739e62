"""The surrogate: kernels and their derivatives, the process against scikit-learn's, pending points, the acquisition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import LinAlgError

from poptrain.algorithms.gp import posterior as gp
from poptrain.algorithms.gp.kernels import Inputs, TimeVarying, forgotten, gaps, squared_distances
from poptrain.algorithms.gp.matern import MaternOverlap
from poptrain.algorithms.gp.maximum import MIN_DISTANCE, Question, maximise, slopes
from poptrain.algorithms.gp.mixed import Mixed, Separate, equal_share, forgetting
from poptrain.algorithms.gp.rows import winsorised
from poptrain.algorithms.pb2 import beta_of
from poptrain.core.rng import rng

NAMES = ("score", "a", "b", "c")
KERNELS = {
    "varying": TimeVarying(NAMES),
    "apart": Separate(NAMES),
    "mixed": Mixed(NAMES),
    "matern": MaternOverlap(NAMES, 2),
}


def inputs(n, key=0, width=4, kinds=3):
    g = rng(key, "inputs", n)
    return Inputs(np.arange(n) // 4 * 1.0, g.random((n, width)), g.integers(0, kinds, (n, 2)))


def values(z, key=0, noise=0.1):
    y = -((z.units - 0.4) ** 2).sum(1) + noise * rng(key, "values").normal(size=len(z))
    return (y - y.mean()) / y.std()


def parameters(kernel, key):
    hypers = (*kernel.hypers, gp.NOISE)
    moved = np.array([hyper.starts[0] for hyper in hypers]) + rng(key, "theta").normal(size=len(hypers)) * 0.5
    return np.clip(moved, [h.low for h in hypers], [h.high for h in hypers])


def central(function, x, h=1e-6):
    return np.array([(np.asarray(function(x + h * e)) - np.asarray(function(x - h * e))) / (2 * h) for e in np.eye(len(x))])


def nll(posterior, y):
    """Returns the negative log marginal likelihood of the observations, without the prior of the parameters."""
    return 0.5 * y @ posterior.alpha + np.log(np.diag(posterior.factor)).sum() + 0.5 * len(y) * np.log(2 * np.pi)


# -- kernels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("length", [0.05, 1.0, 10.0])
def test_time_varying_covariance_is_symmetric_and_positive_semidefinite(epsilon, length):
    z = inputs(60)
    k = np.exp(-0.5 * squared_distances(z.units / length, z.units / length)) * forgetting(epsilon, gaps(z.time, z.time))
    assert np.allclose(k, k.T, atol=1e-14) and np.linalg.eigvalsh(k).min() > -1e-9


def test_without_forgetting_the_kernel_is_the_squared_exponential_and_with_all_of_it_rounds_are_independent():
    z = inputs(12)
    gap = gaps(z.time, z.time)
    assert (forgetting(0.0, gap) == 1).all()
    assert np.allclose(forgetting(1.0, gap), gap == 0, atol=1e-300)
    assert np.allclose(forgetting(0.3, gap), 0.7 ** (gap / 2))


@pytest.mark.parametrize("name", KERNELS)
def test_only_differences_of_time_matter(name):
    kernel, z = KERNELS[name], inputs(20)
    theta = parameters(kernel, 1)[:-1]
    later = Inputs(z.time + 1000, z.units, z.categories)
    assert np.allclose(kernel.matrix(theta, z, z), kernel.matrix(theta, later, later), atol=1e-12)


@pytest.mark.parametrize("name", KERNELS)
def test_the_covariance_is_positive_semidefinite_with_the_stated_diagonal(name):
    kernel, z = KERNELS[name], inputs(60)
    for key in range(10):
        theta = parameters(kernel, key)[:-1]
        k = kernel.matrix(theta, z, z)
        assert np.allclose(np.diag(k), kernel.variance(theta)) and np.allclose(k, kernel.gram(theta, z, gaps(z.time, z.time))[0])
        assert np.linalg.eigvalsh((k + k.T) / 2).min() > -1e-9 * kernel.variance(theta)


@pytest.mark.parametrize("mixing", [-6.0, 0.0, 6.0])
@pytest.mark.parametrize("forgotten_of", [-9.0, 4.0])
def test_the_mixed_covariance_is_positive_semidefinite_at_its_ends(mixing, forgotten_of):
    kernel, z = KERNELS["mixed"], inputs(60)
    theta = np.array([0.0, -1.0, 0, 0, 0, 0, forgotten_of, -forgotten_of - 5, mixing])
    k = kernel.matrix(theta, z, z)
    assert np.allclose(k, k.T, atol=1e-14) and np.linalg.eigvalsh(k).min() > -1e-9


@pytest.mark.parametrize("name", KERNELS)
def test_derivatives_of_the_fit_match_central_differences(name):
    kernel, z = KERNELS[name], inputs(30)
    chain = np.eye(30) - 0.45 * (np.eye(30, k=1) + np.eye(30, k=-1))  # neighbours share the noise of a score
    for key, noise in [*((key, None) for key in range(5)), (5, chain), (6, chain)]:
        target = gp._Target(kernel, z, values(z), noise)
        theta = parameters(kernel, key)
        numeric = central(lambda x, target=target: target(x)[0], theta, 1e-5)
        assert np.abs(target(theta)[1] - numeric).max() <= 1e-6 * np.abs(numeric).max()
        assert target(theta)[1] == pytest.approx(numeric, rel=1e-3, abs=1e-4), "every one of them, the small ones too"


@pytest.mark.parametrize("name", KERNELS)
def test_derivatives_of_mean_and_spread_match_central_differences(name):
    z = inputs(30)
    posterior = gp.fit(KERNELS[name], z, values(z)).with_pending(inputs(3, 5))
    for key in range(5):
        one = inputs(1, 10 + key)
        mean, sd, by_mean, by_sd = slopes(posterior, one)
        at = posterior.ask(one)
        assert np.allclose([mean, sd], [at[0][0], at[1][0]], rtol=1e-9)
        ask = lambda units, one=one: np.ravel(posterior.ask(Inputs(one.time, units[None], one.categories)))
        numeric = central(ask, one.units[0])
        assert np.abs(np.stack([by_mean, by_sd], 1) - numeric).max() <= 1e-6 * max(np.abs(numeric).max(), 1)


def test_mixed_kernel_is_the_product_or_the_sum_at_its_ends():
    kernel, z = Mixed(NAMES), inputs(20)
    theta = parameters(kernel, 3)[:-1]
    gap = gaps(z.time, z.time)
    scaled = z.units / kernel.lengths(theta)
    k1 = np.exp(-0.5 * squared_distances(scaled, scaled)) * forgetting(forgotten(theta[-3]), gap)
    k2 = equal_share(z.categories, z.categories) * forgetting(forgotten(theta[-2]), gap)
    for mixing, expected in ((800.0, k1 * k2), (-800.0, (k1 + k2) / 2)):
        with np.errstate(over="ignore"):
            found = kernel.matrix(np.append(theta[:-1], mixing), z, z)
        assert np.allclose(found, kernel.variance(theta) * expected)


def test_rows_that_differ_only_in_a_category_are_related_but_not_the_same():
    kernel = Mixed(NAMES)
    for key in range(20):
        theta, one = parameters(kernel, key)[:-1], inputs(1, key)
        for change in ([1, 0], [1, 1]):
            other = Inputs(one.time, one.units, one.categories + np.array([change]))
            assert 0 <= kernel.matrix(theta, one, other)[0, 0] < kernel.variance(theta)


@pytest.mark.parametrize("name", KERNELS)
def test_renaming_categories_changes_no_prediction(name):
    z, at = inputs(25), inputs(10, 3)
    renamed = lambda w: Inputs(w.time, w.units, (w.categories + 1) % 3)
    plain = gp.fit(KERNELS[name], z, values(z)).ask(at)
    other = gp.fit(KERNELS[name], renamed(z), values(z)).ask(renamed(at))
    assert np.array_equal(plain, other)


def test_separate_processes_are_those_of_each_category_alone():
    z, at = inputs(40, kinds=2), inputs(10, 3, kinds=2)
    y, kernel, theta = values(z), Separate(NAMES), parameters(TimeVarying(NAMES), 2)
    together = gp.condition(kernel, theta, z, y).ask(at)
    for index in range(len(at)):
        one = at.rows(slice(index, index + 1))
        like = (z.categories == one.categories).all(1)
        alone = gp.condition(TimeVarying(NAMES), theta, z.rows(like), y[like]).ask(one)
        assert np.allclose([together[0][index], together[1][index]], np.ravel(alone), atol=1e-6)


# -- the process ------------------------------------------------------------------------------------------------------


def regressor(kernel, posterior, names):
    """Returns scikit-learn's process with an equal kernel and equal, fixed parameters; columns (time, units)."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Kernel

    class Equal(Kernel):
        def __init__(self):
            pass

        def __call__(self, X, Y=None, eval_gradient=False):
            Y = X if Y is None else Y
            empty = lambda v: np.zeros((len(v), 0), int)
            a, b = (Inputs(v[:, 0], v[:, 1:], empty(v)) for v in (X, Y))
            lengths, gap = kernel.lengths(posterior.theta[:-1]), np.abs(a.time[:, None] - b.time[None])
            distance = ((a.units[:, None] - b.units[None]) ** 2 / lengths**2).sum(2)
            epsilon = forgotten(posterior.theta[-2])
            return kernel.variance(posterior.theta) * np.exp(-0.5 * distance) * (1 - epsilon) ** (gap / 2)

        def diag(self, X):
            return np.full(len(X), kernel.variance(posterior.theta))

        def is_stationary(self):
            return True

    return GaussianProcessRegressor(Equal(), alpha=posterior.noise + 1e-8 * (1 + posterior.noise), optimizer=None)


@pytest.mark.heavy
@pytest.mark.parametrize("n", [3, 40, 200])
def test_equals_scikit_learn_with_an_equal_kernel(n):
    z, at = inputs(n), inputs(50, 9)
    y, kernel = values(z), TimeVarying(NAMES)
    posterior = gp.fit(kernel, z, y)
    reference = regressor(kernel, posterior, NAMES).fit(np.c_[z.time, z.units], y)
    mean, sd = reference.predict(np.c_[at.time, at.units], return_std=True)
    found = posterior.ask(at)
    assert np.allclose(found[0], mean, atol=1e-5) and np.allclose(found[1], sd, atol=1e-5)
    assert np.isclose(nll(posterior, y), -reference.log_marginal_likelihood_value_, atol=1e-3)


def test_the_fit_is_as_probable_as_scikit_learns_own_with_learned_noise():
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    g = rng(0, "static")
    x = g.random((60, 1))
    y = np.sin(6 * x[:, 0]) + 0.3 * g.normal(size=60)
    y = (y - y.mean()) / y.std()
    z = Inputs(np.zeros(60), x, np.zeros((60, 0), int))
    ours = gp.fit(TimeVarying(("x",)), z, y)
    theirs = GaussianProcessRegressor(ConstantKernel() * RBF(0.5) + WhiteKernel(0.1), alpha=1e-10, random_state=0).fit(x, y)
    assert nll(ours, y) <= -theirs.log_marginal_likelihood_value_ + 0.5, "the weak priors cost next to nothing"
    grid = np.linspace(0, 1, 50)[:, None]
    mean = ours.ask(Inputs(np.zeros(50), grid, np.zeros((50, 0), int)))[0]
    assert np.abs(mean - theirs.predict(grid)).max() < 0.15


@pytest.mark.heavy
def test_a_fit_to_many_rows_is_nearly_the_best_of_a_longer_search():
    z = inputs(300)
    y = values(z)
    found = gp.fit(KERNELS["varying"], z, y)
    best = gp.fit(KERNELS["varying"], z, y, effort=gp.Effort(300, 100))
    at = inputs(200, 7)
    assert nll(found, y) < nll(best, y) + 5
    assert np.abs(found.ask(at)[0] - best.ask(at)[0]).max() < 0.1


@pytest.mark.parametrize("name", KERNELS)
def test_pending_points_shrink_the_spread_and_leave_the_mean(name):
    z, at = inputs(40), inputs(64, 4)
    posterior = gp.fit(KERNELS[name], z, values(z))
    mean, sd = posterior.ask(at)
    step = posterior
    for key in range(4):
        step = step.with_pending(inputs(2, 20 + key))
        new_mean, new_sd = step.ask(at)
        assert np.array_equal(new_mean, mean) and (new_sd <= sd + 1e-9).all()
        sd = new_sd
    once = posterior.with_pending(inputs(2, 20).join(inputs(2, 21)).join(inputs(2, 22)).join(inputs(2, 23)))
    assert np.allclose(once.ask(at)[1], sd, atol=1e-7)
    assert posterior.with_pending(inputs(0)) is posterior


def test_pending_variance_is_that_of_any_values_there():
    z, more, at = inputs(20), inputs(3, 8), inputs(30, 4)
    kernel = KERNELS["varying"]
    posterior = gp.fit(kernel, z, values(z))
    for made_up in (0.0, 100.0):
        padded = gp.condition(kernel, posterior.theta, z.join(more), np.append(values(z), [made_up] * 3))
        assert np.allclose(padded.ask(at)[1], posterior.with_pending(more).ask(at)[1], atol=1e-6)


def test_spread_at_a_training_point_is_limited_by_the_noise():
    z = inputs(40)
    posterior = gp.fit(KERNELS["mixed"], z, values(z))
    sd = posterior.ask(z)[1]
    assert (sd**2 <= posterior.noise + 1e-6).all() and (sd**2 <= posterior.kernel.variance(posterior.theta)).all()


DEGENERATE = {
    "one row": (inputs(1), np.zeros(1)),
    "three rows": (inputs(3), np.array([1.0, 0.0, -1.0])),
    "equal values": (inputs(30), np.zeros(30)),
    "equal inputs": (Inputs(np.zeros(30), np.full((30, 4), 0.5), np.zeros((30, 2), int)), values(inputs(30))),
    "twins with different values": (inputs(8).join(inputs(8)), np.append(np.ones(8), -np.ones(8))),
    "one outlier": (inputs(30), np.append(np.zeros(29), 5.0)),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_data_never_raise(name, case):
    z, y = DEGENERATE[case]
    mean, sd = gp.fit(KERNELS[name], z, y).with_pending(z).ask(inputs(20, 3))
    assert np.isfinite(mean).all() and np.isfinite(sd).all() and (sd > 0).all()


def test_a_covariance_that_cannot_be_factored_says_so():
    with pytest.raises(LinAlgError, match="positive definite"):
        gp.cholesky(np.array([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(LinAlgError):
        gp.cholesky(np.full((2, 2), np.nan))


# -- the acquisition --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["pb2", "ray", 0.5])
def test_beta_is_finite_not_negative_and_never_falls(mode):
    betas = [beta_of(mode, n) for n in range(1001)]
    assert all(np.isfinite(beta) and beta >= 0 for beta in betas)
    assert all(a <= b for a, b in zip(betas, betas[1:], strict=False))
    assert np.isclose(beta_of("pb2", 100), 0.738, atol=1e-3) and np.isclose(beta_of("ray", 100), 3.889, atol=1e-3)


def question(width, taken=None, snap=lambda p: p, coarse=None):
    row = Inputs(np.array([20.0]), np.full((1, 4), 0.5), np.zeros((1, 2), int))
    taken = np.zeros((0, width)) if taken is None else taken
    coarse = np.zeros(width, bool) if coarse is None else coarse
    return Question(row, np.arange(1, 1 + width), coarse, snap, taken)


@pytest.mark.heavy
def test_the_maximum_of_a_known_quadratic_is_found():
    z = inputs(120)
    posterior = gp.fit(KERNELS["varying"], z, values(z, noise=0.01))
    chosen = maximise(posterior, question(3), 0.05, rng(1))
    assert np.abs(chosen - 0.4).max() < 0.1


def test_choices_stay_inside_and_apart_from_what_is_taken():
    z = inputs(40)
    posterior = gp.fit(KERNELS["varying"], z, values(z))
    taken = np.zeros((0, 3))
    for key in range(6):
        chosen = maximise(posterior, question(3, taken), 0.0, rng(key))
        assert (chosen >= 0).all() and (chosen <= 1).all()
        assert not len(taken) or np.abs(taken - chosen).max(1).min() >= MIN_DISTANCE
        taken = np.concatenate([taken, chosen[None]])


def test_of_few_levels_the_best_is_found():
    from itertools import product

    levels = (np.arange(4) + 0.5) / 4
    snap = lambda points: levels[np.clip((points * 4).astype(int), 0, 3)]
    z = Inputs(np.arange(40) * 1.0, rng(0, "coarse").random((40, 7)), np.zeros((40, 0), int))
    z.units[:, 1:] = snap(z.units[:, 1:])
    posterior = gp.fit(TimeVarying(tuple("sabcdef")), z, values(z))
    row = Inputs(np.array([40.0]), np.full((1, 7), 0.5), np.zeros((1, 0), int))
    question = Question(row, np.arange(1, 7), np.ones(6, bool), snap, np.zeros((0, 6)))
    mean, sd = posterior.ask(question.filled(np.array(list(product(levels, repeat=6)))))
    chosen = posterior.ask(question.filled(maximise(posterior, question, 0.5, rng(1, "few"))[None]))
    assert (chosen[0] + 0.5**0.5 * chosen[1])[0] >= (mean + 0.5**0.5 * sd).max() - 0.05


def test_choices_are_lattice_points():
    z = inputs(40)
    posterior = gp.fit(KERNELS["varying"], z, values(z))
    snap = lambda points: np.minimum(np.floor(points * 5), 4) / 5 + 0.1
    chosen = maximise(posterior, question(3, snap=snap, coarse=np.ones(3, bool)), 0.1, rng(0))
    assert np.allclose(chosen, snap(chosen[None])[0])


def test_winsorised_values_keep_their_middle():
    y = np.append(np.linspace(0, 1, 99), 1e6)
    cut = winsorised(y)
    assert cut.max() < 1.1 and (cut[5:90] == y[5:90]).all() and not len(winsorised(np.zeros(0)))
