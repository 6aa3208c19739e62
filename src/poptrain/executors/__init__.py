"""Executors turn tasks into results: the same run inline, on local processes, or vectorised in one JAX program."""

from __future__ import annotations

from typing import Any

from poptrain.errors import UsageError, did_you_mean
from poptrain.executors.context import Context, Executor
from poptrain.executors.inline import Inline

NAMES = ("inline", "processes", "vectorized")

__all__ = ["Context", "Executor", "Inline", "Processes", "Vectorized", "resolve"]


def __getattr__(name: str) -> Any:
    """Imports the executors that need more than the core only when they are asked for."""
    if name == "Processes":
        from poptrain.executors.processes import Processes

        return Processes
    if name == "Vectorized":
        from poptrain.executors.vectorized import Vectorized

        return Vectorized
    raise AttributeError(f"module 'poptrain.executors' has no attribute {name!r}.{did_you_mean(name, __all__)}")


def resolve(what: Any, trainable: Any = None) -> Any:
    """Returns the executor configuration that `what` names or is.

    Raises:
        UsageError: an unknown name, or something that cannot be opened.
    """
    if isinstance(what, str):
        if what not in NAMES:
            raise UsageError(f"executor={what!r}: expected one of {', '.join(map(repr, NAMES))}.{did_you_mean(what, NAMES)}")
        what = {"inline": "Inline", "processes": "Processes", "vectorized": "Vectorized"}[what]
        what = (Inline if what == "Inline" else __getattr__(what))()
    if not hasattr(what, "open"):
        raise UsageError(
            f"executor={what!r}: expected {', '.join(map(repr, NAMES))} or an executor such as pt.executors.Processes(slots=4)."
        )
    if hasattr(what, "check"):
        what.check(trainable)
    return what
