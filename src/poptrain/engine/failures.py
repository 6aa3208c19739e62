"""When a run has failed as a whole: no member can go on, or training returns metrics that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from poptrain.core import History, Result
from poptrain.core.errors import MetricError, RunFailed
from poptrain.executors.outcome import metric_error
from poptrain.log.writer import LogWriter


class UnreadMetrics:
    """Stops a run in which the metrics of half of the members cannot be read, and no result was healthy: the code is wrong.

    Once a result was healthy, bad metrics are the failure of the member that returned them.
    """

    def __init__(self, seats: int):
        self._seats = seats
        self._errors: list[MetricError] | None = []  # None after a healthy result

    def check(self, log: LogWriter, history: History, results: Sequence[Result]) -> None:
        """Takes results that were logged.

        Raises:
            MetricError: says what is wrong with the first of the metrics.
        """
        if self._errors is None:
            return
        if history.best() is not None or any(result.healthy for result in results):
            self._errors = None
            return
        self._errors += [error for result in results if (error := metric_error(result)) is not None]
        if self._errors and 2 * len(self._errors) >= self._seats:
            log.note("failed", reason=str(self._errors[0]))
            raise self._errors[0]


def check_not_all_failed(log: LogWriter, history: History, directory: str | Path | None) -> None:
    """Raises a `RunFailed` if no member is left at the end of a run, or a `MetricError` if that is why the first one failed."""
    heads = [int(id) for id in history.heads() if id >= 0]
    if not heads or any(history.ok(id) for id in heads):
        return
    first = history.result(heads[0])
    if first is None:
        return
    why = first.error or f"the score is {first.score}"
    last = "no result was ever finite"
    if (best := history.best()) is not None:
        last = f"the last finite result is that of member {history.task(best).member} at step {history.step(best)}"
    log.note("failed", reason=why)
    if (wrong := metric_error(first)) is not None and best is None:
        raise wrong
    where = f" Tracebacks are in {Path(directory) / 'errors'}." if directory is not None and first.error else ""
    raise RunFailed(f"all {len(heads)} members failed; {last}. First: {why.removesuffix('.')}.{where}")
