"""The table of a run: one row for each task, with the metric and every other logged number under the user's names."""

from __future__ import annotations

from poptrain.core import History, Value, markup
from poptrain.core.counting import counted
from poptrain.log.reader import Record
from poptrain.views.format import short
from poptrain.views.index import about, history_of, result_of
from poptrain.views.sources import of_run

MOST_ROWS = 20  # that a notebook shows


class Table(dict[str, list[Value]]):
    """Columns of equal length by name: what ``pandas.DataFrame`` and ``polars.DataFrame`` take. It prints its size only."""

    def __repr__(self) -> str:
        return f"<Table of {counted(self._rows(), 'row')}: {', '.join(self)}>"

    def _repr_html_(self) -> str:
        rows = [[short(column[index]) for column in self.values()] for index in range(min(self._rows(), MOST_ROWS))]
        left = self._rows() - len(rows)
        more = [markup.line(f"… and {counted(left, 'more row')}; to_pandas() has all")] if left else []
        return markup.block(counted(self._rows(), "row"), markup.table(list(self), rows), *more)

    def _rows(self) -> int:
        return len(next(iter(self.values()), []))


@of_run
def table(record: Record) -> Table:
    """Returns the run as columns for a data frame: one row for each task, with the user's sign of scores.

    The score has the name of the metric; then come the other metrics that training returned, and the hyperparameters. A name
    that is taken already gets a prefix: ``metrics.`` or ``hparams.``. What a task does not have is None.
    """
    return table_of(record, history_of(record))


def table_of(record: Record, history: History) -> Table:
    """Returns `table` of a history that was read already."""
    tasks = [history.task(id) for id in range(history.n)]
    results = [result_of(history, task.id) if history.result(task.id) is not None else None for task in tasks]
    columns: dict[str, list[Value]] = {
        "task": [task.id for task in tasks],
        "member": [task.member for task in tasks],
        "parent": [task.parent for task in tasks],
        "steps": [task.steps for task in tasks],
        "step": [None if result is None else result.step for result in results],
    }
    last: dict[str, list[Value]] = {
        "seconds": [None if result is None else result.seconds for result in results],
        "kind": ["pending" if result is None else result.kind for result in results],
        "error": [None if result is None else result.error for result in results],
    }

    def add(name: str, prefix: str, column: list[Value]) -> None:
        columns[f"{prefix}.{name}" if name in columns or name in last else name] = column

    add(about(record)[0], "metrics", [None if result is None else result.score for result in results])
    for name in dict.fromkeys(name for result in results if result is not None for name in result.metrics):
        add(name, "metrics", [None if result is None else result.metrics.get(name) for result in results])
    for name in dict.fromkeys(name for task in tasks for name in task.hparams):
        add(name, "hparams", [task.hparams.get(name) for task in tasks])
    return Table(columns | last)
