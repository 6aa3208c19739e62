"""Sinks follow the log, live or afterwards, and never stop training.

A sink has any of ``open(record)``, ``write(record, history)`` when the log has grown, and ``close()``. Each runs on a thread
of its own; a sink that is slower than the run is called once for several lines, and reads the record from where it left off.

================  =====================================================================================================
`MLflow`          a parent run and a nested run for each member (``pip install 'poptrain[mlflow]'``)
`TensorBoard`     event files: curves by member and by ancestry, HParams (``pip install 'poptrain[tensorboard]'``)
================  =====================================================================================================
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from poptrain.core.errors import did_you_mean
from poptrain.sinks.guarded import Guarded

EXPERIMENT = "poptrain"  # of MLflow, unless another is named
_SINKS = {"MLflow": "mlflow_runs", "TensorBoard": "event_files"}

__all__ = ["Guarded", "MLflow", "TensorBoard"]


def __getattr__(name: str) -> Any:
    """Imports a sink when it is first named."""
    if name in _SINKS:
        return getattr(import_module(f"poptrain.sinks.{_SINKS[name]}"), name)
    raise AttributeError(f"module 'poptrain.sinks' has no attribute {name!r}.{did_you_mean(name, __all__)}")
