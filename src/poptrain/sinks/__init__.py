"""Sinks follow the log, live or afterwards, and never stop training.

A sink is an object with ``write(record, history)``, which is called when the log has grown; `poptrain.core.protocols.Sink`
lists what else it may have. Each sink runs on a thread of its own. A sink that is slower than the run is called once for
several lines, and reads the record from where it left off.

================  =====================================================================================================
`MLflow`          a parent run and a nested run for each member (``pip install 'poptrain[mlflow]'``)
`WandB`           Weights & Biases: a run for each member, in one group (``pip install 'poptrain[wandb]'``)
`TensorBoard`     event files: curves by member and by ancestry, HParams (``pip install 'poptrain[tensorboard]'``)
================  =====================================================================================================
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from poptrain.core.errors import did_you_mean
from poptrain.sinks.guarded import Guarded

if TYPE_CHECKING:
    from poptrain.sinks.event_files import TensorBoard
    from poptrain.sinks.mlflow_runs import MLflow
    from poptrain.sinks.wandb_runs import WandB

EXPERIMENT = "poptrain"  # the default name of the MLflow experiment
_SINKS = {"MLflow": "mlflow_runs", "TensorBoard": "event_files", "WandB": "wandb_runs"}

__all__ = ["Guarded", "MLflow", "TensorBoard", "WandB"]


def __getattr__(name: str) -> object:
    """Imports a sink when its name is first used."""
    if name in _SINKS:
        return getattr(import_module(f"poptrain.sinks.{_SINKS[name]}"), name)
    raise AttributeError(f"module 'poptrain.sinks' has no attribute {name!r}.{did_you_mean(name, __all__)}")
