"""When a run as a whole cannot go on: no member is left, its metrics cannot be read, or the machine allows it no more."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from poptrain.core import History, Result
from poptrain.core.errors import MetricError, RunFailed, Suspended, Unreadable, UsageError
from poptrain.engine.again import again, continued
from poptrain.engine.notices import all_failed
from poptrain.executors.machine import LIMITS
from poptrain.executors.outcome import PREFIX, metric_error
from poptrain.log.reader import Record
from poptrain.log.writer import LogWriter


@contextmanager
def within_limits(directory: str | Path | None, record: Record | None = None) -> Iterator[None]:
    """Suspends a run that needs more open files, processes or memory than it may have. What the user's
    code raises is a result by then, and does not come here.

    Args:
        record: of the run; None while it is not open yet.

    Raises:
        Suspended: says so, and how the run is continued.
    """
    try:
        yield
    except (OSError, RuntimeError, Suspended, Unreadable, UsageError) as error:
        if (limit := _limit(error)) is None:
            raise
        raise Suspended(
            f"{limit.strerror}: this process may not have more. Use fewer slots, or allow more (`ulimit -n` files, `ulimit -u` "
            f"processes); {continued() if record is None else again(record, directory)}"
        ) from limit


def _limit(error: BaseException | None) -> OSError | None:
    """Returns the refusal that an error goes back to: the disk's own words name one file, and no cure."""
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":  # the number is lost there
        return OSError(errno.EAGAIN, "No more threads")
    if isinstance(error, OSError):
        return error if error.errno in LIMITS else None
    while error is not None and not (isinstance(error, OSError) and error.errno in LIMITS and error.errno != errno.EAGAIN):
        error = error.__cause__  # EAGAIN is also what a storage far away says
    return error


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
