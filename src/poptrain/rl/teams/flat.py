"""Policy networks as vectors: a population of networks is a matrix, and acts all at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poptrain.rl.mlp import HOST_ACTIVATIONS, normalised
from poptrain.rl.nets import Layers

NAMES = ("w", "b", "gain", "shift")  # the order of a layer's parameters in a vector


def flatten(layers: Layers) -> np.ndarray:
    """Returns the parameters of one network, (D,)."""
    return np.concatenate([np.ravel(np.asarray(layer[name])) for layer in layers for name in NAMES if name in layer])


def unflatten(vectors: np.ndarray, sizes: Sequence[int], norm: bool = False) -> Layers:
    """Returns the layers of networks whose parameters are the last axis of `vectors`, (…, D); their arrays lead with (…).

    The layers of one vector, (D,), are views: a change of them changes the vector.

    Args:
        sizes, norm: as `mlp.init_mlp` takes them.
    """
    layers, begin = [], 0
    for i, (rows, columns) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        layer = {}
        names = NAMES if norm and i < len(sizes) - 2 else NAMES[:2]
        for name, shape in zip(names, ((rows, columns), *[(columns,)] * (len(names) - 1)), strict=True):
            end = begin + int(np.prod(shape))
            layer[name] = vectors[..., begin:end].reshape(*vectors.shape[:-1], *shape)
            begin = end
        layers.append(layer)
    return layers


def playable(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns networks, (N, D), of which those that are not finite have become zeros, and which these are, (N,).

    A NaN in an action ends some simulators, and one in a memory the critics that learn from it.
    """
    broken = ~np.isfinite(vectors).all(1)
    return (np.where(broken[:, None], np.float32(0.0), vectors) if broken.any() else vectors), broken


def act_all(layers: Layers, observations: np.ndarray, activation: str) -> np.ndarray:
    """Returns the outputs of N networks, (N, outputs), one for each row of the observations, (N, O)."""
    squash, x = HOST_ACTIVATIONS[activation], observations[:, None]
    for layer in layers[:-1]:
        x = np.matmul(x, layer["w"]) + layer["b"][:, None]
        if "gain" in layer:
            x = normalised({name: layer[name][:, None] for name in ("gain", "shift")}, x)
        x = squash(x)
    return (np.matmul(x, layers[-1]["w"]) + layers[-1]["b"][:, None])[:, 0]
