"""Distributions over actions: a diagonal Gaussian for continuous ones, a categorical for discrete ones.

Arrays are feature-major: network outputs have shape (D, B), actions (A, B); densities, divergences and entropies (B,).
Actions are floats in both cases; a discrete one is its index, with A = 1. A Gaussian action is stored and scored as it was
drawn; only the environment sees it clipped to its bounds, so that the density stays exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from poptrain._jax import jax, jnp

LOG_2PI = 1.8378770664093453


class Distribution(NamedTuple):
    """How an agent turns network outputs into actions; `log_std` is ignored where there is none."""

    log_prob: Callable[[Any, Any, Any], Any]  # (outputs, log_std, actions) -> (B,)
    kl: Callable[[Any, Any, Any, Any], Any]  # KL(old || new) of (old outputs, old log_std, outputs, log_std) -> (B,)
    entropy: Callable[[Any, Any], Any]  # (outputs, log_std) -> (B,)
    noise: Callable[[Any, tuple[int, ...]], Any]  # (key, shape of outputs) -> what `sample` needs
    sample: Callable[[Any, Any, Any], Any]  # (outputs, log_std, noise) -> actions
    mode: Callable[[Any], Any]  # outputs -> most likely actions


def _gaussian_log_prob(mean: Any, log_std: Any, actions: Any) -> Any:
    z = (actions - mean) * jnp.exp(-log_std)[:, None]
    return -0.5 * (z * z).sum(0) - log_std.sum() - 0.5 * LOG_2PI * mean.shape[0]


def _gaussian_kl(old_mean: Any, old_log_std: Any, mean: Any, log_std: Any) -> Any:
    ratio = jnp.exp(2.0 * (old_log_std - log_std)).sum()
    distance = ((old_mean - mean) * jnp.exp(-log_std)[:, None]) ** 2
    return (log_std - old_log_std).sum() + 0.5 * (ratio + distance.sum(0)) - 0.5 * mean.shape[0]


def _gaussian_entropy(mean: Any, log_std: Any) -> Any:
    return jnp.full(mean.shape[1], log_std.sum() + 0.5 * (1.0 + LOG_2PI) * mean.shape[0])


GAUSSIAN = Distribution(
    log_prob=_gaussian_log_prob,
    kl=_gaussian_kl,
    entropy=_gaussian_entropy,
    noise=jax.random.normal,
    sample=lambda mean, log_std, noise: mean + jnp.exp(log_std)[:, None] * noise,
    mode=lambda mean: mean,
)


def _categorical_log_prob(logits: Any, log_std: Any, actions: Any) -> Any:
    chosen = jnp.arange(logits.shape[0])[:, None] == actions[0].astype(jnp.int32)
    return jnp.where(chosen, jax.nn.log_softmax(logits, 0), 0.0).sum(0)


def _categorical_kl(old_logits: Any, old_log_std: Any, logits: Any, log_std: Any) -> Any:
    old = jax.nn.log_softmax(old_logits, 0)
    return (jnp.exp(old) * (old - jax.nn.log_softmax(logits, 0))).sum(0)


def _categorical_entropy(logits: Any, log_std: Any) -> Any:
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
