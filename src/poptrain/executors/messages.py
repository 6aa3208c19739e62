"""What the driver and its worker processes send each other, over one private pipe for each worker.

The driver sends a `WorkerSetup` once (pickled; functions travel by name, or by their code: see `by_value`), then one
``(task, start)`` at a time, and None to end. The worker sends tuples that begin with a word:

    hello                       it is running, and waits for the setup
    ready                       it has imported the trainable, and waits for a task
    result, Result              of the task that it was sent; its checkpoint is durable
    fatal, Fatal                an error that ends the run
    traceback, name, text       to be kept among the run's errors
    store, method, args, kw     a call of the driver's store, if that is in memory; the answer is (ok, value)
"""

from __future__ import annotations

from typing import NamedTuple

from poptrain.core.errors import PoptrainError
from poptrain.executors.by_value import ByValue
from poptrain.executors.context import MemberStore
from poptrain.trainable import AnyTrainable


class WorkerSetup(NamedTuple):
    """What a worker process is sent once."""

    trainable: AnyTrainable | ByValue  # a worker receives the trainable itself
    metric: str
    store: MemberStore | None  # None: the driver's own, through the pipe
    warm: int  # the most member states that it keeps
    static: tuple[str, ...] = ()  # names of static hyperparameters


class Fatal(NamedTuple):
    """An error of poptrain that ends the run, in a form that every process can unpickle."""

    kind: type[PoptrainError]
    text: str
    exit_code: int

    @classmethod
    def of(cls, error: PoptrainError) -> Fatal:
        """Returns an error as a message: its nearest class in `poptrain.core.errors`, its text and its exit code."""
        kind = next(kind for kind in type(error).__mro__ if kind.__module__ == PoptrainError.__module__)
        return cls(kind, str(error), error.exit_code)

    def error(self) -> PoptrainError:
        """Returns the error, to be raised in the driver."""
        error = self.kind(self.text)
        error.exit_code = self.exit_code
        return error
