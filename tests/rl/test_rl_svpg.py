# ruff: noqa: E402
"""SVPG: every invariant of the Stein direction, and the team as a member of a population."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("gymnasium")

from poptrain._jax import jax
from poptrain.checkpoints import carry as carries
from poptrain.core.errors import UsageError
from poptrain.core.rng import rng
from poptrain.rl import SVPG, make
from poptrain.rl.actor import Actor
from poptrain.rl.architecture import architecture_of
from poptrain.rl.nets import init_params
from poptrain.rl.normaliser import init_normaliser
from poptrain.rl.teams.stein import squared_distances, stein_direction, transport
from poptrain.rl.teams.team_actor import TeamActor
from poptrain.rl.trees import stack, take

pytestmark = pytest.mark.filterwarnings("ignore:.*fewer than the longest episode")
DRAW = np.random.default_rng(0)
THETA = DRAW.normal(size=(5, 3))
GRADIENT = DRAW.normal(size=(5, 3))
CONVENTIONS = ("svpg", "svgd")
direction = jax.jit(stein_direction, static_argnums=3)


@pytest.fixture(autouse=True)
def exact():
    """Computes in double precision, where the invariants hold to the last digits."""
    with jax.enable_x64(True):
        yield


def test_equal_particles_share_the_mean_gradient_and_do_not_repel():
    equal = np.repeat(THETA[:1] / 3, 5, 0)
    for convention in CONVENTIONS:
        phi, _, apart = direction(equal, GRADIENT, 0.25, convention)
        assert not np.asarray(apart).any()
        np.testing.assert_allclose(phi, np.broadcast_to(GRADIENT.mean(0) / 0.25, phi.shape), rtol=1e-12)


def test_particles_far_apart_follow_their_own_gradients():
    far = THETA * 1e3
    shared, apart = jax.jit(lambda theta: transport(theta, GRADIENT, 0.5, squared_distances(theta), 1.0))(far)
    np.testing.assert_allclose(shared, GRADIENT / 0.5)
    assert not np.asarray(apart).any()


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_repulsion_is_the_gradient_of_the_kernel_and_adds_up_to_nothing(convention):
    _, _, found = direction(THETA, GRADIENT, 1.0, convention)
    distances = ((THETA[:, None] - THETA) ** 2).sum(2)
    h = {"svpg": 0.5, "svgd": 1.0}[convention] * np.median(distances[np.triu_indices(5, 1)]) / np.log(6.0)
    differences = np.zeros_like(THETA)
    for i in range(5):
        for j in range(5):
            for d in range(3):
                up, down = (THETA[j] + sign * 1e-6 * np.eye(3)[d] for sign in (1, -1))
                k = [np.exp(-((at - THETA[i]) ** 2).sum() / h) if i != j else 1.0 for at in (up, down)]
                differences[i, d] += (k[0] - k[1]) / 2e-6
    np.testing.assert_allclose(found, differences, atol=1e-9)
    np.testing.assert_allclose(np.asarray(found).sum(0), 0.0, atol=1e-14)


def test_the_order_and_the_origin_of_particles_do_not_matter():
    order = np.asarray([3, 1, 4, 0, 2])
    phi, *_ = direction(THETA, GRADIENT, 0.3, "svpg")
    moved, *_ = direction(THETA[order], GRADIENT[order], 0.3, "svpg")
    np.testing.assert_allclose(moved, phi[order], rtol=1e-10)
    np.testing.assert_allclose(direction(THETA + 7.0, GRADIENT, 0.3, "svpg")[0], phi, rtol=1e-9)


def test_a_lone_particle_follows_its_gradient_and_two_particles_part():
    phi, _, apart = direction(THETA[:1], GRADIENT[:1], 0.5, "svpg")
    np.testing.assert_array_equal(phi, GRADIENT[:1] / 0.5)
    assert not np.asarray(apart).any()
    _, _, apart = direction(np.asarray([[0.0], [1.0]]), np.zeros((2, 1)), 1.0, "svpg")
    assert apart[0, 0] < 0 < apart[1, 0]


@pytest.mark.heavy
def test_the_bandwidths_put_pairs_at_the_median_where_their_codes_do():
    three = np.asarray([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])  # all pairs at distance 1
    for convention, power in (("svpg", -2), ("svgd", -1)):
        _, shared, _ = direction(three, np.eye(3, 2), 1.0, convention)  # the first two particles have gradients of 1
        np.testing.assert_allclose(shared, np.asarray([[1, 4.0**power], [4.0**power, 1], [4.0**power] * 2]), rtol=1e-9)


@pytest.mark.heavy
@pytest.mark.parametrize(("convention", "known"), [("svpg", (0.217, 0.868, 3.47)), ("svgd", (0.228, 0.912, 3.64))])
def test_particles_come_to_rest_as_samples_of_the_tempered_objective(convention, known):
    """J = -theta^2 / 2, so q* is Gaussian with variance alpha."""

    @jax.jit
    def rest(theta, alpha):
        step = lambda _, theta: theta + 0.05 * stein_direction(theta, -theta, alpha, convention)[0]  # noqa: E731
        return jax.lax.fori_loop(0, 6000, step, theta)

    start = np.random.default_rng(1).normal(size=(32, 1))
    for alpha, variance in zip((0.25, 1.0, 4.0), known, strict=True):
        theta = rest(start, alpha)
        assert float(theta.var()) == pytest.approx(variance, rel=0.02) == pytest.approx(alpha, rel=0.15)
        assert abs(float(theta.mean())) < 1e-3


def test_the_policies_of_a_team_act_as_each_of_them_alone():
    for name in ("Pendulum-v1", "CartPole-v1"):
        spec = make(name).spec
        log_std = 0 if spec.discrete else spec.actions
        params = stack(
            [
                init_params(rng(i, "x"), spec.observation, architecture_of("SVPG", (8,), {}), spec.actions, log_std)
                for i in range(3)
            ]
        )
        params["log_std"] -= np.arange(3, dtype=np.float32)[:, None]
        seen = DRAW.normal(size=(6, spec.observation)).astype(np.float32)
        noise = DRAW.normal(size=(6, spec.actions)).astype(np.float32)
        for given in (None, noise):
            team = TeamActor(spec, params, init_normaliser(spec.observation)).act(seen, given)
            for i in range(3):
                own = slice(2 * i, 2 * i + 2)
                alone = Actor(spec, take(params, i), init_normaliser(spec.observation))
                for a, b in zip(team, alone.act(seen[own], None if given is None else given[own]), strict=True):
                    np.testing.assert_allclose(a[own], b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"surrogate": "a3c"}, 'surrogate=.a3c., expected "reinforce"'),
        ({"particles": 0}, "particles=0"),
        ({"alpha": 0.0}, "alpha=0"),
    ],
)
def test_an_impossible_team_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        SVPG(**{"env": "CartPole-v1"} | arguments)


SMALL = {"particles": 3, "num_envs": 2, "hidden": (8,), "train_batch_size": 300, "minibatch_size": 40, "epochs": 2, "horizon": 60}
SEEDS = np.asarray([1, 2])


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.heavy
@pytest.mark.parametrize("env", ["CartPole-v1", "jax/Pendulum-v1"])
def test_training_is_a_pure_function_that_a_checkpoint_continues(env):
    with jax.enable_x64(False):
        team = SVPG(env=env, **SMALL)
        start, _ = team.train(team.init({}, SEEDS), {}, 500, SEEDS)
        once, metrics = team.train(start, {}, 500, SEEDS + 5)
        assert same(once, team.train(start, {}, 500, SEEDS + 5)[0])
        structure, arrays = carries.flatten(carries.lane(start, 1))
        restored = carries.stacked(carries.unflatten(structure, arrays))
        assert same(once, team.train(team.gather([(start, 0), (restored, 0)]), {}, 500, SEEDS + 5)[0])
        assert metrics["updates"].tolist() == [3, 3] and np.isfinite(metrics["repulsion"]).all()
        scores = np.stack([metrics[f"team/{i}"] for i in range(3)])
        np.testing.assert_allclose(metrics["score"], scores.max(0))
        assert (metrics["best_particle"] == scores.argmax(0)).all()
        best = Actor(make(env).spec, take(take(once["params"], 0), int(once["best"][0])), take(once["normaliser"], 0))
        assert same([w for w, _ in best.layers], [w for w, _ in team.player(make(env).spec, take(once, 0)).layers])


@pytest.mark.heavy
@pytest.mark.parametrize("surrogate", ["reinforce", "a2c", "ppo"])
def test_the_kernel_mixes_policies_and_never_critics(surrogate):
    with jax.enable_x64(False):
        team = SVPG(env="CartPole-v1", surrogate=surrogate, **SMALL)
        start = team.init({}, SEEDS[:1])
        cold, hot = (team.train(start, {"alpha": alpha}, 320, SEEDS[:1])[0] for alpha in (0.1, 10.0))
        assert cold["updates"].tolist() == [1] and not same(start["params"]["value"], cold["params"]["value"])
        assert same(cold["params"]["value"], hot["params"]["value"])
        assert not same(cold["params"]["policy"], hot["params"]["policy"])
        assert not same(cold["params"]["policy"], start["params"]["policy"])


@pytest.mark.heavy
def test_a_particle_that_moved_too_far_follows_only_the_repulsion():
    with jax.enable_x64(False):
        team = replace(SVPG(env="CartPole-v1", **SMALL), lr=0.05)
        start = team.init({}, SEEDS[:1])
        _, free = team.train(start, {"kl_target": 1e6}, 320, SEEDS[:1])
        _, held = team.train(start, {"kl_target": 1e-6}, 320, SEEDS[:1])
        assert free["gradient"] > 0 and held["repulsion"] > 0 and held["gradient"] == 0
