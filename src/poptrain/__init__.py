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

from importlib import import_module
from typing import Any

from poptrain import errors
from poptrain.algorithms import fire_pbt, grid_search, optuna_search, pb2, pb2_mix, pb2_mult, pbt, random_search, schedule_replay
from poptrain.core import History, Lost, Result, Task, rank
from poptrain.errors import PoptrainError, UsageError, did_you_mean
from poptrain.experiment import Experiment
from poptrain.outcome import Run, open_run
from poptrain.parts.exploit import tournament, truncation, welch
from poptrain.parts.explore import additive, perturb, resample
from poptrain.replay import replay
from poptrain.rng import rng
from poptrain.run import resume, run
from poptrain.space import Choice, Complement, Int, LogInt, LogUniform, Ordinal, Space, Uniform, nested
from poptrain.stop import any_of, generations, score, seconds, steps
from poptrain.trainable import Trainable, jax_trainable
from poptrain.verify import verify

__version__ = "0.1.0"

__all__ = [
    "Choice", "Complement", "Experiment", "History", "Int", "LogInt", "LogUniform", "Lost", "Ordinal", "PoptrainError",
    "Result", "Run", "Space", "Task", "Trainable", "Uniform", "UsageError", "additive", "any_of", "check", "errors",
    "executors", "fire_pbt", "generations", "grid_search", "jax_trainable", "nested", "open_run", "optuna_search", "pb2",
    "pb2_mix", "pb2_mult", "pbt", "perturb", "random_search", "rank", "replay", "resample", "resume", "rng", "run",
    "schedule_replay", "score", "seconds", "steps", "tournament", "truncation", "verify", "welch",
]  # fmt: skip

_LATER = {"check": "preflight"}  # names whose modules are loaded when they are first asked for
_MODULES = ("executors", "views", "plots", "report", "rl", "sinks", "statistics", "testing")


def __getattr__(name: str) -> Any:
    """Imports the larger parts of the package when they are first named: ``pt.executors``, ``pt.views``, ``pt.rl`` …"""
    if name in _LATER:
        return getattr(import_module(f"poptrain.{_LATER[name]}"), name)
    if name in _MODULES:
        return import_module(f"poptrain.{name}")
    raise AttributeError(f"module 'poptrain' has no attribute {name!r}.{did_you_mean(name, [*__all__, *_MODULES])}")
