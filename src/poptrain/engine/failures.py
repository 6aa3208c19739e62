"""When a run has failed as a whole: no member can go on, or training returns metrics that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from poptrain.core import History, Result
from poptrain.core.errors import MetricError, RunFailed
from poptrain.engine.notices import all_failed
from poptrain.executors.outcome import PREFIX, metric_error
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


def check_not_all_failed(log: LogWriter, history: History, directory: str | Path | None, hint: str) -> None:
    """Raises a `RunFailed` if no member is left at the end of a run, or a `MetricError` if that is why the first one failed."""
    if (failed := all_failed(history, log.record.run["metric"], directory, hint)) is None:
        return
    log.note("failed", reason=failed.reason)
    if failed.reason.startswith(PREFIX) and history.best() is None:
        raise MetricError(failed.reason.removeprefix(PREFIX))
    raise RunFailed(failed.text)
