"""poptrain: population-based training. Hyperparameters are tuned while the population trains.

>>> import poptrain as pt
>>> def train(carry, hp, steps, seed):                        # gradient ascent on 1 - x², from x = 1
...     x = 1.0 if carry is None else carry
...     for _ in range(steps):
...         x -= 2 * hp["lr"] * x
...     return x, {"score": 1 - x * x}
>>> space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
>>> run = pt.run(pt.pbt(space, population=4, interval=5), train, stop=pt.steps(50))
>>> run.best.score > 0.9
True
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

# Where each public name is. A module is loaded when one of its names is first used, so that `import poptrain`, and with it
# every command, takes no time for what it does not use.
_NAMES = {
    "algorithms": "fire_pbt grid_search optuna_search pb2 pb2_mix pb2_mult pbt random_search schedule_replay",
    "core": "History Lost Result Task rank",
    "errors": "PoptrainError UsageError",
    "experiment": "Experiment",
    "outcome": "Run open_run",
    "parts.exploit": "tournament truncation welch",
    "parts.explore": "additive perturb resample",
    "preflight": "check",
    "replay": "replay",
    "rng": "rng",
    "run": "resume run",
    "space": "Choice Complement Int LogInt LogUniform Ordinal Space Uniform nested",
    "stop": "any_of generations score seconds steps",
    "trainable": "Trainable jax_trainable",
    "verify": "verify",
}
_MODULES = ("executors", "views", "plots", "report", "rl", "sinks", "statistics", "testing")
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted([*_HOME, "errors", "executors"])


class _Package(ModuleType):
    """The package. `run`, `rng`, `replay` and `verify` are functions, and not the modules of the same name that hold them."""

    def __setattr__(self, name: str, value: Any) -> None:
        same = isinstance(value, ModuleType) and _HOME.get(name) == name  # what Python does when it has loaded a module
        super().__setattr__(name, getattr(value, name) if same else value)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Lets a script's function that names the package travel by value, as Ray sends it; the package is imported there."""
        return import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """Loads what a name stands for when it is first used: ``pt.pbt``, ``pt.views`` …"""
    if name in _HOME:
        module = import_module(f"poptrain.{_HOME[name]}")
        globals()[name] = found = getattr(module, name)
        return found
    if name in _MODULES or name == "errors":
        return import_module(f"poptrain.{name}")
    from poptrain.errors import did_you_mean

    raise AttributeError(f"module 'poptrain' has no attribute {name!r}.{did_you_mean(name, [*__all__, *_MODULES])}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
