"""Multilayer perceptrons of off-policy agents: rows of features in, rows of outputs out, in JAX and in numpy.

A network is a list of layers ``{"w": (inputs, outputs), "b": (outputs,)}``; one with layer normalisation (arXiv 1607.06450) has a
``gain`` and a ``shift``, (outputs,) each, in its hidden layers. Batches are row-major, (B, features): with 256 units
a layer, XLA's CPU kernels are a third faster than with columns (`nets` has small networks, for which it is the other way round).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from poptrain._jax import jax, jnp
from poptrain.rl.nets import Layers
from poptrain.rl.trees import Array, Parts

NORM_EPSILON = 1e-6  # of the variance
Activation = Callable[[Array], Array]
ACTIVATIONS: dict[str, Activation] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "elu": jax.nn.elu,
    "leaky_relu": jax.nn.leaky_relu,
}
HOST_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0.0, out=x),
    "tanh": lambda x: np.tanh(x, out=x),
}


def init_mlp(generator: np.random.Generator, sizes: Sequence[int], last_scale: float = 1.0, norm: bool = False) -> Layers:
    """Returns fresh layers, uniform within 1 / sqrt(inputs): PyTorch's default, with which the published results were made.

    Args:
        sizes: of the layers, from the inputs to the outputs.
        last_scale: factor of the last layer.
        norm: True adds layer normalisation to the hidden layers.
    """
    layers: Layers = []
    for i, (rows, columns) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        bound = rows**-0.5 * (last_scale if i == len(sizes) - 2 else 1.0)
        shapes = {"w": (rows, columns), "b": (columns,)}
        layers.append({name: generator.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()})
        if norm and i < len(sizes) - 2:
            layers[-1] |= {"gain": np.ones(columns, np.float32), "shift": np.zeros(columns, np.float32)}
    return layers


def normalised(layer: Parts, x: Array) -> Array:
    """Returns a layer's sums, (…, outputs), after its normalisation; in numpy or in JAX."""
    x = x - x.mean(-1, keepdims=True)
    return layer["gain"] * x * ((x * x).mean(-1, keepdims=True) + NORM_EPSILON) ** -0.5 + layer["shift"]


def mlp(layers: Layers, x: Array, activation: str = "relu") -> Array:
    """Returns the outputs, (B, outputs), for inputs (B, inputs)."""
    squash = ACTIVATIONS[activation]
    for layer in layers[:-1]:
        x = x @ layer["w"] + layer["b"]
        x = squash(normalised(layer, x) if "gain" in layer else x)
    return x @ layers[-1]["w"] + layers[-1]["b"]


def host_mlp(layers: Layers, x: np.ndarray, activation: str = "relu") -> np.ndarray:
    """Returns what `mlp` does, in numpy: for a few rows, calling a compiled program costs more than the arithmetic."""
    squash = HOST_ACTIVATIONS[activation]
    for layer in layers[:-1]:
        x = x @ layer["w"]
        x += layer["b"]
        x = squash(normalised(layer, x) if "gain" in layer else x)
    return x @ layers[-1]["w"] + layers[-1]["b"]
