"""Policy networks as vectors: a population of networks is a matrix, and acts all at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poptrain.rl.mlp import HOST_ACTIVATIONS
from poptrain.rl.nets import Layers


def flatten(layers: Layers) -> np.ndarray:
    """Returns the parameters of one network, (D,)."""
    return np.concatenate([np.ravel(np.asarray(layer[name])) for layer in layers for name in ("w", "b")])


def unflatten(vectors: np.ndarray, sizes: Sequence[int]) -> Layers:
    """Returns the layers of networks whose parameters are the last axis of `vectors`, (…, D); their arrays lead with (…)."""
    layers, begin = [], 0
    for rows, columns in zip(sizes[:-1], sizes[1:], strict=True):
        layer = {}
        for name, shape in (("w", (rows, columns)), ("b", (columns,))):
            end = begin + int(np.prod(shape))
            layer[name] = vectors[..., begin:end].reshape(*vectors.shape[:-1], *shape)
            begin = end
        layers.append(layer)
    return layers


def act_all(layers: Layers, observations: np.ndarray, activation: str) -> np.ndarray:
    """Returns the outputs of N networks, (N, outputs), one for each row of the observations, (N, O)."""
    squash, x = HOST_ACTIVATIONS[activation], observations[:, None]
    for layer in layers[:-1]:
        x = squash(np.matmul(x, layer["w"]) + layer["b"][:, None])
    return (np.matmul(x, layers[-1]["w"]) + layers[-1]["b"][:, None])[:, 0]
