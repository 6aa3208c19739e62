"""Executors turn tasks into results: inline, in local processes, in one JAX program, or on a Ray cluster."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.protocols import Executor
from poptrain.executors.context import CheckingConfig, Context, ExecutorConfig
from poptrain.executors.inline import Inline

BY_NAME = {"inline": "Inline", "processes": "Processes", "vectorized": "Vectorized", "ray": "Ray"}  # name -> class
LATE = ("Processes", "Vectorized", "Ray")  # they need more than the core: each is imported when it is asked for

__all__ = ["Context", "Executor", "ExecutorConfig", "Inline", "Processes", "Ray", "Vectorized", "resolve"]


def __getattr__(name: str) -> Any:
    """Returns one of the executors that are imported when they are asked for."""
    if name not in LATE:
        raise AttributeError(f"module 'poptrain.executors' has no attribute {name!r}.{did_you_mean(name, __all__)}")
    return getattr(import_module(f"poptrain.executors.{name.lower()}"), name)


def kind_of(executor: object) -> str:
    """Returns the name of an executor, such as "inline"."""
    return executor if isinstance(executor, str) else type(executor).__name__.lower()


def resolve(what: object, trainable: object = None) -> ExecutorConfig:
    """Returns the executor configuration that `what` names or is, after its own check of the trainable.

    Raises:
        UsageError: `what` is an unknown name, or not a configuration; or the executor cannot train this trainable here.
    """
    names = ", ".join(map(repr, BY_NAME))
    if isinstance(what, str):
        if what not in BY_NAME:
            raise UsageError(f"executor={what!r}: expected one of {names}.{did_you_mean(what, BY_NAME)}")
        what = Inline() if what == "inline" else __getattr__(BY_NAME[what])()
    if isinstance(what, type) or not isinstance(what, ExecutorConfig):
        raise UsageError(f"executor={what!r}: expected {names}, or an executor such as pt.executors.Processes(slots=4).")
    if isinstance(what, CheckingConfig):
        what.check(trainable)
    return what
