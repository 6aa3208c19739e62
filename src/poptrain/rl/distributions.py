"""Distributions over actions: a diagonal Gaussian for continuous ones, a categorical for discrete ones.

Arrays are feature-major: network outputs have shape (D, B), actions (A, B); densities, divergences and entropies (B,).
Actions are floats in both cases; a discrete action is its index, with A = 1. A Gaussian action is stored and scored as it was
drawn; only the environment gets it clipped to its bounds, so that the density stays exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from poptrain._jax import jax, jnp
from poptrain.rl.trees import Array

LOG_2PI = 1.8378770664093453


class Distribution(NamedTuple):
    """How an agent turns network outputs into actions. `log_std` has shape (A,); a categorical ignores it."""

    log_prob: Callable[[Array, Array, Array], Array]  # (outputs, log_std, actions) -> (B,)
    kl: Callable[[Array, Array, Array, Array], Array]  # KL(old || new) of (old outputs, old log_std, outputs, log_std) -> (B,)
    entropy: Callable[[Array, Array], Array]  # (outputs, log_std) -> (B,)
    noise: Callable[[Array, tuple[int, ...]], Array]  # (key, shape of outputs) -> the noise that `sample` takes
    sample: Callable[[Array, Array, Array], Array]  # (outputs, log_std, noise) -> actions
    mode: Callable[[Array], Array]  # outputs -> most likely actions


def _gaussian_log_prob(mean: Array, log_std: Array, actions: Array) -> Array:
    z = (actions - mean) * jnp.exp(-log_std)[:, None]
    return -0.5 * (z * z).sum(0) - log_std.sum() - 0.5 * LOG_2PI * mean.shape[0]


def _gaussian_kl(old_mean: Array, old_log_std: Array, mean: Array, log_std: Array) -> Array:
    ratio = jnp.exp(2.0 * (old_log_std - log_std)).sum()
    distance = ((old_mean - mean) * jnp.exp(-log_std)[:, None]) ** 2
    return (log_std - old_log_std).sum() + 0.5 * (ratio + distance.sum(0)) - 0.5 * mean.shape[0]


def _gaussian_entropy(mean: Array, log_std: Array) -> Array:
    return jnp.full(mean.shape[1], log_std.sum() + 0.5 * (1.0 + LOG_2PI) * mean.shape[0])


GAUSSIAN = Distribution(
    log_prob=_gaussian_log_prob,
    kl=_gaussian_kl,
    entropy=_gaussian_entropy,
    noise=jax.random.normal,
    sample=lambda mean, log_std, noise: mean + jnp.exp(log_std)[:, None] * noise,
    mode=lambda mean: mean,
)


def _categorical_log_prob(logits: Array, log_std: Array, actions: Array) -> Array:
    chosen = jnp.arange(logits.shape[0])[:, None] == actions[0].astype(jnp.int32)
    return jnp.where(chosen, jax.nn.log_softmax(logits, 0), 0.0).sum(0)


def _categorical_kl(old_logits: Array, old_log_std: Array, logits: Array, log_std: Array) -> Array:
    old = jax.nn.log_softmax(old_logits, 0)
    return (jnp.exp(old) * (old - jax.nn.log_softmax(logits, 0))).sum(0)


def _categorical_entropy(logits: Array, log_std: Array) -> Array:
    log_p = jax.nn.log_softmax(logits, 0)
    return -(jnp.exp(log_p) * log_p).sum(0)


CATEGORICAL = Distribution(
    log_prob=_categorical_log_prob,
    kl=_categorical_kl,
    entropy=_categorical_entropy,
    noise=jax.random.gumbel,
    sample=lambda logits, log_std, noise: jnp.argmax(logits + noise, 0)[None].astype(jnp.float32),
    mode=lambda logits: jnp.argmax(logits, 0)[None].astype(jnp.float32),
)
