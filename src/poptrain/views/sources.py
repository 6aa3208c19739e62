"""What a view is made from: a record, or a run that has one."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from poptrain.core.errors import UsageError
from poptrain.log.reader import Record

P = ParamSpec("P")
R = TypeVar("R")


class HasRecord(Protocol):
    """A run, as `pt.run` and `pt.open_run` return it."""

    @property
    def record(self) -> Record:
        """Its log."""
        ...


AnyRun = Record | HasRecord


def record_of(run: AnyRun, what: str = "plots") -> Record:
    """Returns the record of a run; `what` needs it, in the message.

    Raises:
        UsageError: it is not a run.
    """
    record = run if isinstance(run, Record) else getattr(run, "record", None)
    if isinstance(record, Record):
        return record
    hint = f" Write pt.open_run({str(run)!r:.80})." if isinstance(run, str) else ""
    raise UsageError(f"{what}: got {type(run).__name__}, expected a run: what pt.run or pt.open_run returned.{hint}")


def of_run(view: Callable[Concatenate[Record, P], R]) -> Callable[Concatenate[AnyRun, P], R]:
    """Returns a view that takes a run too, not its record alone."""

    @wraps(view)
    def call(record: AnyRun, *args: P.args, **named: P.kwargs) -> R:
        return view(record_of(record, f"views.{view.__name__}"), *args, **named)

    return call
