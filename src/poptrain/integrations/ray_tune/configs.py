"""Ray's nested configs and poptrain's flat hyperparameters: ``{"optimizer": {"lr": …}}`` and ``optimizer.lr``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poptrain.core import Hparams
from poptrain.space import Space


def copied(config: Any) -> Any:
    """Returns a config with its own dicts; what they hold is shared."""
    return {key: copied(value) for key, value in config.items()} if isinstance(config, dict) else config


def given(config: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Returns the hyperparameters of the space that a config has values for, by their flat names."""
    return {name: value for name in space if (value := at(config, name)) is not None}


def at(config: Mapping[str, Any], name: str) -> Any:
    """Returns what a config has under a dotted name; None if it has nothing there."""
    branch: Any = config
    for key in name.split("."):
        branch = branch.get(key) if isinstance(branch, Mapping) else None
    return branch


def difference(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> str | None:
    """Returns the dotted name of the first value that differs between two configs, or None."""
    for key in dict.fromkeys([*one, *other]):
        a, b = one.get(key), other.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            if inner := difference(a, b, f"{prefix}{key}."):
                return inner
        elif a is not b and repr(a) != repr(b):
            return f"{prefix}{key}"
    return None


def applied(config: Mapping[str, Any], hparams: Hparams) -> dict[str, Any]:
    """Returns the config with the hyperparameters in their places; all other keys are untouched, and so is `config`.

    >>> applied({"env": "CartPole-v1", "optimizer": {"eps": 1e-8}}, {"optimizer.lr": 0.1})
    {'env': 'CartPole-v1', 'optimizer': {'eps': 1e-08, 'lr': 0.1}}
    """
    new = dict(config)
    fresh = set()  # branches that are copies already
    for name, value in hparams.items():
        branch, prefix = new, ""
        *path, last = name.split(".")
        for key in path:
            prefix += f"{key}."
            if prefix not in fresh:
                branch[key] = dict(branch.get(key) or {})
                fresh.add(prefix)
            branch = branch[key]
        branch[last] = value
    return new
