"""Multilayer perceptrons: a policy network and a value network without shared weights, and one log standard deviation per action.

Parameters are a tree of arrays: ``{"policy": [{"w", "b"}, …], "value": […], "log_std": (A,)}``. `log_std` does not depend on the
state, and is empty for discrete actions. A layer with a third array, ``"u"``, is spectrally normalised, see `spectral`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poptrain._jax import jnp
from poptrain.rl.architecture import Architecture
from poptrain.rl.spectral import effective, first_direction
from poptrain.rl.trees import Array, Parts

Layers = list[Parts]  # from the first to the last: weights "w" (inputs, outputs) and biases "b" (outputs,)


def init_params(generator: np.random.Generator, observation: int, networks: Architecture, outputs: int, log_std: int) -> Parts:
    """Returns fresh parameters: orthogonal weights, zero biases, and a last policy layer that is 100 times smaller.

    With a small last layer the first policy is nearly independent of the observation, which is why PPO explores well from
    the start (arXiv 2006.05990, section 3.2).

    Args:
        observation, outputs: sizes of the first and of the policy's last layer.
        networks: the hidden layers of both networks.
        log_std: number of log standard deviations, 0 for discrete actions.
    """
    policy, value = networks
    return {
        "policy": _layers(generator, (observation, *policy.hidden, outputs), 0.01, policy.spectral),
        "value": _layers(generator, (observation, *value.hidden, 1), 1.0, value.spectral),
        "log_std": np.zeros(log_std, np.float32),
    }


def _layers(generator: np.random.Generator, sizes: Sequence[int], last_gain: float, spectral: bool) -> Layers:
    gains = [np.sqrt(2.0)] * (len(sizes) - 2) + [last_gain]
    layers = [
        {"w": (gain * _orthogonal(generator, rows, columns)).astype(np.float32), "b": np.zeros(columns, np.float32)}
        for rows, columns, gain in zip(sizes[:-1], sizes[1:], gains, strict=True)
    ]
    return [layer | {"u": first_direction(layer["w"])} for layer in layers[:-1]] + layers[-1:] if spectral else layers


def _orthogonal(generator: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    q, r = np.linalg.qr(generator.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))  # makes the distribution uniform (arXiv math-ph/0609050)
    return q if rows >= columns else q.T


def forward(layers: Layers, x: Array) -> Array:
    """Returns the network's outputs, shape (outputs, B), for normalised observations of shape (observation, B).

    Arrays are feature-major: with so few features, XLA's CPU kernels are a fifth faster than with one row per observation.
    """
    for layer in layers[:-1]:
        x = jnp.tanh(effective(layer).T @ x + layer["b"][:, None])
    return layers[-1]["w"].T @ x + layers[-1]["b"][:, None]
