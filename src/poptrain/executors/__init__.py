"""Executors turn tasks into results: inline, on local processes, in one JAX program, or on a Ray cluster."""

from __future__ import annotations

from typing import Any

from poptrain.core.errors import UsageError, did_you_mean
from poptrain.executors.context import Context, Executor
from poptrain.executors.inline import Inline

NAMES = ("inline", "processes", "vectorized", "ray")

__all__ = ["Context", "Executor", "Inline", "Processes", "Ray", "Vectorized", "resolve"]


def __getattr__(name: str) -> Any:
    """Imports the executors that need more than the core only when they are asked for."""
    if name == "Processes":
        from poptrain.executors.processes import Processes

        return Processes
    if name == "Vectorized":
        from poptrain.executors.vectorized import Vectorized

        return Vectorized
    if name == "Ray":
        from poptrain.executors.ray import Ray

        return Ray
    raise AttributeError(f"module 'poptrain.executors' has no attribute {name!r}.{did_you_mean(name, __all__)}")


def resolve(what: Any, trainable: Any = None) -> Any:
    """Returns the executor configuration that `what` names or is.

    Raises:
        UsageError: an unknown name, or something that cannot be opened.
    """
    if isinstance(what, str):
        if what not in NAMES:
            raise UsageError(f"executor={what!r}: expected one of {', '.join(map(repr, NAMES))}.{did_you_mean(what, NAMES)}")
        what = Inline() if what == "inline" else __getattr__(what.capitalize())()
    if not hasattr(what, "open"):
        raise UsageError(
            f"executor={what!r}: expected {', '.join(map(repr, NAMES))} or an executor such as pt.executors.Processes(slots=4)."
        )
    if hasattr(what, "check"):
        what.check(trainable)
    return what
