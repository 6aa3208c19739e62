# ruff: noqa: E402
"""V-MPO: the invariants of its losses, and training as a population."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("gymnasium")

from poptrain._jax import jax, jnp
from poptrain.checkpoints import carry as carries
from poptrain.core.errors import UsageError
from poptrain.rl import VMPO
from poptrain.rl.agents.vmpo import LOG_DUALS, bound_loss, divergences, policy_losses, upper_half
from poptrain.rl.distributions import GAUSSIAN

pytestmark = pytest.mark.filterwarnings("ignore:.*fewer than the longest episode")
DRAW = np.random.default_rng(0)
ADVANTAGE = jnp.asarray(DRAW.normal(size=12), jnp.float32)
CHOSEN = upper_half(ADVANTAGE, jnp.int32(12)) <= ADVANTAGE
LOG_PROB = jnp.asarray(DRAW.normal(size=12), jnp.float32)


def weights(advantage, chosen, eta=0.7):
    """Returns psi: the policy loss is minus the weighted sum of the log densities."""
    return -jax.grad(lambda log_prob: policy_losses(log_prob, advantage, chosen, jnp.float32(eta), 0.1)[0])(LOG_PROB)


def test_the_upper_half_is_chosen():
    assert int(CHOSEN.sum()) == 6 and ADVANTAGE[CHOSEN].min() > ADVANTAGE[~CHOSEN].max()
    padded = jnp.asarray([3.0, 1.0, 2.0, 99.0])
    assert [float(upper_half(padded, jnp.int32(n))) for n in (1, 2, 3)] == [3.0, 3.0, 3.0]


def test_the_weights_are_those_of_the_paper_and_add_up_to_one():
    psi = weights(ADVANTAGE, CHOSEN)
    expected = np.where(CHOSEN, np.exp(ADVANTAGE / 0.7), 0.0)
    np.testing.assert_allclose(psi, expected / expected.sum(), rtol=1e-5)
    np.testing.assert_allclose(weights(ADVANTAGE + 500.0, CHOSEN), psi, rtol=1e-3)
    np.testing.assert_allclose(weights(jnp.zeros(12), CHOSEN)[CHOSEN], 1 / 6, rtol=1e-6)


def test_the_temperature_rests_where_the_bound_is_met():
    def loss(eta, epsilon):
        return policy_losses(LOG_PROB, ADVANTAGE, CHOSEN, eta, epsilon)

    _, _, kl = loss(jnp.float32(0.7), 0.1)
    psi = np.asarray(weights(ADVANTAGE, CHOSEN))[np.asarray(CHOSEN)]
    assert float(kl) == pytest.approx(float((psi * np.log(6 * psi)).sum()), rel=1e-4)
    slope = jax.grad(lambda eta, epsilon: loss(eta, epsilon)[1])
    assert abs(float(slope(jnp.float32(0.7), kl))) < 1e-5
    assert slope(jnp.float32(0.7), kl * 2) > 0 > slope(jnp.float32(0.7), kl / 2), "a tighter bound raises the temperature"


def test_a_minibatch_without_a_chosen_sample_teaches_nothing():
    def loss(log_prob, eta):
        return sum(policy_losses(log_prob, ADVANTAGE, jnp.zeros(12, bool), eta, 0.0)[:2])

    for gradient in jax.grad(loss, (0, 1))(LOG_PROB, jnp.float32(1.0)):
        assert not np.asarray(gradient).any()


@pytest.mark.heavy
def test_the_divergences_add_up_to_that_of_the_gaussians_and_vanish_at_the_old_policy():
    old, new = (jnp.asarray(DRAW.normal(size=(3, 5)), jnp.float32) for _ in range(2))
    old_std, std = (jnp.asarray(DRAW.normal(size=3), jnp.float32) for _ in range(2))
    means, stds = divergences(True, old, old_std, new, std)
    only_std = divergences(True, old, old_std, old, std)
    np.testing.assert_allclose(only_std[1], GAUSSIAN.kl(old, old_std, old, std), rtol=1e-4)
    np.testing.assert_allclose(means, GAUSSIAN.kl(old, old_std, new, old_std), rtol=1e-4)
    for gaussian in (True, False):
        total = lambda new, std, gaussian=gaussian: sum(kl.sum() for kl in divergences(gaussian, old, old_std, new, std))  # noqa: E731
        assert float(total(old, old_std)) == 0.0
        assert all(np.abs(gradient).max() < 1e-6 for gradient in jax.grad(total, (0, 1))(old, old_std))


def test_a_multiplier_grows_exactly_while_its_bound_is_exceeded():
    slope = jax.grad(bound_loss)
    assert slope(1.0, 0.02, 0.01) < 0 < slope(1.0, 0.005, 0.01)
    assert jax.grad(bound_loss, 1)(3.0, 0.02, 0.01) == 3.0, "it is the price of the divergence"


SMALL = {"hidden": (16,), "num_envs": 8, "minibatch_size": 64, "epochs": 2, "train_batch_size": 256}
AGENTS = [VMPO(env=env, **SMALL) for env in ("CartPole-v1", "jax/Pendulum-v1")]
SEEDS = np.asarray([1, 2])


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize("agent", [AGENTS[0], pytest.param(AGENTS[1], marks=pytest.mark.heavy)], ids=["CartPole", "jax/Pendulum"])
def test_training_is_a_pure_function_that_a_checkpoint_continues(agent):
    start, _ = agent.train(agent.init({}, SEEDS), {}, 400, SEEDS)
    once, metrics = agent.train(start, {}, 400, SEEDS + 5)
    assert same(once, agent.train(start, {}, 400, SEEDS + 5)[0])
    structure, arrays = carries.flatten(carries.lane(start, 1))
    restored = carries.stacked(carries.unflatten(structure, arrays))
    assert same(once, agent.train(agent.gather([(start, 0), (restored, 0)]), {}, 400, SEEDS + 5)[0])
    assert metrics["updates"].tolist() == [3, 3] and np.isfinite(metrics["kl_mean"]).all()
    assert (once["duals"] >= LOG_DUALS[0]).all() and once["duals"].any() and (metrics["eta"] == np.exp(once["duals"][:, 0])).all()


def test_every_hyperparameter_takes_effect():
    agent, one = AGENTS[0], SEEDS[:1]
    carry, _ = agent.train(agent.init({}, one), {}, 600, one)
    weights = [agent.train(carry, {}, 600, one)[0]["params"]["policy"][0]["w"].tobytes()]
    values = {"epochs": 3, "dual_lr": 0.1, "eps_alpha_mean": 0.1, "value_coeff": 4.0}
    names = ["lr", "dual_lr", "eps_eta", "eps_alpha_mean", "gae_lambda", "discount", "epochs", "value_coeff"]
    for name in names:
        after, _ = agent.train(carry, {name: np.asarray([values.get(name, 0.5)])}, 600, one)
        weights.append(after["params"]["policy"][0]["w"].tobytes())
    assert len(set(weights)) == len(names) + 1


def test_a_larger_minibatch_than_the_compiled_order_can_walk_is_refused():
    with pytest.raises(UsageError, match="minibatch_size=2000"):
        VMPO(env="jax/Pendulum-v1", minibatch_size=2000)


@pytest.mark.heavy
def test_it_learns_cartpole():
    agent = VMPO(env="CartPole-v1")
    carry, _ = agent.train(agent.init({}, SEEDS), {}, 60_000, SEEDS)
    assert agent.evaluate(carry, 0, 20).mean() > 400
