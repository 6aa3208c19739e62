"""Contracts: the laws that every algorithm, every executor and every adapter must fulfil, as tests that a new one inherits.

    class TestMine(pt.testing.AlgorithmContract):
        def make(self, space, **options):
            return my_algorithm(space, population=4, interval=5)

Run it with pytest: each law is one test. The names are imported when they are used: a worker process that trains `quadratic`
need not import the contracts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from poptrain.core.errors import did_you_mean

if TYPE_CHECKING:
    from poptrain.testing.adapters import AdapterContract
    from poptrain.testing.algorithms import AlgorithmContract
    from poptrain.testing.executors import ExecutorContract
    from poptrain.testing.simulate import play, replay, simulated
    from poptrain.testing.trainables import Faulty, Quadratic, check_trainable, quadratic

__all__ = [
    "AdapterContract",
    "AlgorithmContract",
    "ExecutorContract",
    "Faulty",
    "Quadratic",
    "check_trainable",
    "play",
    "quadratic",
    "replay",
    "simulated",
]

_MODULES = {"AdapterContract": "adapters", "AlgorithmContract": "algorithms", "ExecutorContract": "executors"}
_MODULES |= dict.fromkeys(("play", "replay", "simulated"), "simulate")
_MODULES |= dict.fromkeys(("Faulty", "Quadratic", "check_trainable", "quadratic"), "trainables")


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'poptrain.testing' has no attribute {name!r}.{did_you_mean(name, __all__)}")
    return getattr(import_module(f"poptrain.testing.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
