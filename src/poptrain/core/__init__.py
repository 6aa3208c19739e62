"""The nouns that everything else is made of: `Task`, `Result` and `Lost`, and the `History` that consists of them."""

from poptrain.core.facts import (
    Carry,
    Forecast,
    Hparams,
    Json,
    Kind,
    Line,
    Lost,
    Metrics,
    Result,
    Role,
    Task,
    Value,
    as_line,
    check_roles,
    maximised,
    results_of,
    tasks_of,
)
from poptrain.core.gathered import NEVER
from poptrain.core.history import History
from poptrain.core.ranking import rank

__all__ = [
    "NEVER",
    "Carry",
    "Forecast",
    "History",
    "Hparams",
    "Json",
    "Kind",
    "Line",
    "Lost",
    "Metrics",
    "Result",
    "Role",
    "Task",
    "Value",
    "as_line",
    "maximised",
    "check_roles",
    "rank",
    "results_of",
    "tasks_of",
]
