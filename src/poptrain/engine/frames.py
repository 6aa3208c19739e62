"""Runs as data frames of pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from poptrain.core import Value
from poptrain.core.errors import MissingExtra

try:
    import pandas
except ImportError as error:
    raise MissingExtra("to_pandas needs pandas: pip install pandas. Without it, run.table() returns the columns.") from error


def frame(columns: Mapping[str, Sequence[Value]]) -> pandas.DataFrame:
    """Returns columns as a data frame. Whole numbers with gaps stay whole: they are pandas' nullable integers."""
    made = pandas.DataFrame(dict(columns))
    for name, column in columns.items():
        kinds = {type(value) for value in column if value is not None}
        if kinds == {int}:
            made[name] = made[name].astype("Int64")
        elif kinds == {float}:
            made[name] = made[name].astype("float64")
    return made
