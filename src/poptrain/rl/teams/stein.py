"""The Stein direction of a set of particles: gradients that a kernel shares, and a repulsion that keeps particles apart.

Liu, Wang: Stein Variational Gradient Descent, arXiv 1608.04471. A particle is the parameters of one policy, as a vector.
"""

from __future__ import annotations

from poptrain._jax import jnp
from poptrain.rl.trees import Array

BANDWIDTHS = {"svpg": 0.5, "svgd": 1.0}  # h = factor * med / log(n + 1)


def squared_distances(theta: Array) -> Array:
    """Returns the squared distances of n particles, (n, n); theta (n, D)."""
    centred = theta - theta[0]  # any centre will do; with this one, equal particles have distances of exactly 0
    products = centred @ centred.T
    lengths = jnp.diagonal(products)
    return jnp.maximum(lengths[:, None] + lengths[None, :] - 2.0 * products, 0.0) * (1.0 - jnp.eye(len(theta)))


def bandwidth(theta: Array, distances: Array, convention: str) -> Array:
    """Returns h from the median of the squared distances between different particles.

    Args:
        convention: "svpg", where two particles at the median distance have k = (n + 1)^-2 (code of the first author of SVPG), or
            "svgd", where they have k = 1 / (n + 1) (the code of SVGD).
    """
    n = len(theta)
    pairs = distances[jnp.triu_indices(n, 1)] if n > 1 else jnp.ones(1)
    least = 1e-8 * (1.0 + (theta * theta).sum(1).mean())  # equal particles have a median of 0
    return jnp.maximum(BANDWIDTHS[convention] * jnp.median(pairs) / jnp.log(n + 1.0), least)


def kernel(distances: Array, h: Array) -> Array:
    """Returns the Gaussian kernel k = exp(-d^2 / h), (n, n), for squared distances."""
    return jnp.exp(-distances / h)


def repulsion(theta: Array, k: Array, h: Array) -> Array:
    """Returns the sum over j of the gradient of k(theta_j, theta_i) by theta_j, (n, D).

    In closed form: (2 / h) sum_j k_ij (theta_i - theta_j). An array (n, n, D) is never made.
    """
    centred = theta - theta[0]
    return 2.0 / h * (k.sum(1)[:, None] * centred - k @ centred)


def transport(theta: Array, gradient: Array, alpha: Array, distances: Array, h: Array) -> tuple[Array, Array]:
    """Returns the two parts of n times the direction, (n, D) each: the shared gradients, and the repulsion.

    Args:
        theta: the particles, (n, D).
        gradient: of each particle's own objective, in the direction of ascent, (n, D).
        alpha: the temperature.
        distances: between the particles, squared, (n, n).
        h: the bandwidth.
    """
    k = kernel(distances, h)
    return k.T @ gradient / alpha, repulsion(theta, k, h)


def stein_direction(theta: Array, gradient: Array, alpha: Array, convention: str) -> tuple[Array, Array, Array]:
    """Returns the direction of ascent (n, D), and its two parts as in `transport`; `convention` is that of the bandwidth."""
    distances = squared_distances(theta)
    shared, apart = transport(theta, gradient, alpha, distances, bandwidth(theta, distances, convention))
    return (shared + apart) / len(theta), shared, apart  # SVPG's update: phi
