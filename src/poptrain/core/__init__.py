"""The nouns that everything else is made of: `Task`, `Result`, `Lost`, and the `History` that they add up to."""

from poptrain.core.columns import NEVER
from poptrain.core.facts import Carry, Forecast, Hparams, Kind, Line, Lost, Metrics, Result, Role, Task, Value
from poptrain.core.history import History, rank

__all__ = [
    "NEVER",
    "Carry",
    "Forecast",
    "History",
    "Hparams",
    "Kind",
    "Line",
    "Lost",
    "Metrics",
    "Result",
    "Role",
    "Task",
    "Value",
    "rank",
]
