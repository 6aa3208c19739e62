"""The architecture of an agent with a policy and a value network: static hyperparameters, because they change array shapes.

A space declares them with ``static=True``: clones keep them, members of different architectures are trained in one program for
each architecture, and BG-PBT distils across them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from poptrain.core.errors import UsageError
from poptrain.rl.trees import Parts

MOST_LAYERS, MOST_WIDTH = 32, 1 << 16
NETWORKS = ("policy", "value")
NAMES = tuple(f"{network}_{what}" for network in NETWORKS for what in ("layers", "width", "spectral_norm"))


class Network(NamedTuple):
    """The hidden layers of one network."""

    hidden: tuple[int, ...]  # sizes
    spectral: bool = False  # their weights are spectrally normalised, see `spectral`


class Architecture(NamedTuple):
    """The hidden layers of both networks."""

    policy: Network
    value: Network


def architecture_of(agent: str, hidden: tuple[int, ...], hparams: Mapping[str, Any]) -> Architecture:
    """Returns the architecture that the static hyperparameters select; what is not tuned is as in `hidden`.

    Args:
        agent: its name, for messages.
        hidden: sizes of the hidden layers where they are not tuned.
        hparams: the tuned ones; `NAMES` are read.

    Raises:
        UsageError: a value is out of range, or differs between the members of one program.
    """
    return Architecture(*(_network(agent, network, hidden, hparams) for network in NETWORKS))


def without_architecture(hparams: Mapping[str, ArrayLike]) -> dict[str, ArrayLike]:
    """Returns the hyperparameters that are not part of the architecture."""
    return {name: value for name, value in hparams.items() if name not in NAMES}


def shapes_of(params: Parts) -> Hashable:
    """Returns what compiled programs depend on: the sizes of all layers, and whether they are spectrally normalised."""
    return tuple((network, *(np.shape(layer["w"])[-2:] + ("u" in layer,) for layer in params[network])) for network in NETWORKS)


def _network(agent: str, network: str, hidden: tuple[int, ...], hparams: Mapping[str, Any]) -> Network:
    layers = _whole(agent, f"{network}_layers", hparams, len(hidden), 1, MOST_LAYERS)
    width = _whole(agent, f"{network}_width", hparams, None, 1, MOST_WIDTH)
    spectral = _whole(agent, f"{network}_spectral_norm", hparams, 0, 0, 1)
    if width is None:
        assert layers is not None
        if layers and not hidden:
            raise UsageError(
                f"{agent}: {network}_layers={layers} has no width, because hidden={hidden!r} names none: pass hidden=(64,), or "
                f"tune {network}_width."
            )
        return Network((*hidden, *hidden[-1:] * layers)[:layers], bool(spectral))
    return Network((width,) * (layers or 0), bool(spectral))


def _whole(agent: str, name: str, hparams: Mapping[str, Any], default: int | None, low: int, high: int) -> int | None:
    """Returns the one value that all members of a program share, checked."""
    if name not in hparams:
        return default
    given = np.unique(np.asarray(hparams[name]))
    if len(given) != 1:
        raise UsageError(f"{agent}: {name} differs between the members of one program: declare it static=True in the space.")
    value = given[0]
    if value.dtype.kind not in "bif" or value != int(value) or not low <= value <= high:
        raise UsageError(f"{agent}: {name}={value.item()!r}, expected a whole number from {low} to {high}.")
    return int(value)
