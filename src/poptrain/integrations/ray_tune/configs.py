"""Ray's nested configs and poptrain's flat hyperparameters: ``{"optimizer": {"lr": …}}`` and ``optimizer.lr``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poptrain.core import Hparams
from poptrain.space import Space

Config = dict[str, Any]  # of a trial: the user's own
Report = dict[str, Any]  # of a trial: the user's own metrics, and what Ray adds
ABSENT = object()  # where a config has no value; None may be one


def copied(config: Config) -> Config:
    """Returns a config whose dicts, also nested ones, are copies; other values are shared."""
    return {key: copied(value) if isinstance(value, dict) else value for key, value in config.items()}


def given(config: Mapping[str, object], space: Space) -> Config:
    """Returns the values that a config has for hyperparameters, by their flat names; None is one only where it is an option."""
    found = {name: at(config, name, ABSENT) for name in space}
    return {
        name: value for name, value in found.items() if value is not ABSENT and (value is not None or space[name].contains(value))
    }


def at(config: Mapping[str, object], name: str, absent: object = None) -> object:
    """Returns the value of a config under a dotted name; `absent` if there is none."""
    branch: object = config
    for key in name.split("."):
        branch = branch.get(key, absent) if isinstance(branch, Mapping) else absent
    return branch


def first_difference(one: Mapping[str, object], other: Mapping[str, object], prefix: str = "") -> str | None:
    """Returns the dotted name of the first value that differs between two configs, or None."""
    for key in dict.fromkeys([*one, *other]):
        a, b = one.get(key), other.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            if inner := first_difference(a, b, f"{prefix}{key}."):
                return inner
        elif a is not b and repr(a) != repr(b):
            return f"{prefix}{key}"
    return None


def applied(config: Mapping[str, object], hparams: Hparams) -> Config:
    """Returns the config with the hyperparameters in their places; all other keys are unchanged, and so is `config`.

    >>> applied({"env": "CartPole-v1", "optimizer": {"eps": 1e-8}}, {"optimizer.lr": 0.1})
    {'env': 'CartPole-v1', 'optimizer': {'eps': 1e-08, 'lr': 0.1}}
    """
    new = dict(config)
    fresh = set()  # branches that are copies already
    for name, value in hparams.items():
        branch: Config = new
        prefix = ""
        *path, last = name.split(".")
        for key in path:
            prefix += f"{key}."
            if prefix not in fresh:
                branch[key] = dict(branch.get(key) or {})
                fresh.add(prefix)
            branch = branch[key]
        branch[last] = value
    return new
