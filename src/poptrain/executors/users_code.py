"""The boundary around the user's code: whatever it raises is a value from here on, and only the member that raised it pays."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from poptrain.core.user_objects import is_interrupt
from poptrain.executors.machine import refused_storage
from poptrain.log.disk import default as disk


class RaisedByUser(Exception):
    """Carries what the user's code raised: also an error of poptrain itself, which then says nothing about this run."""

    def __init__(self, error: BaseException):
        super().__init__(error)
        self.error = error


class users_code:
    """Turns everything that is raised inside into `RaisedByUser`. Only an interrupt passes: it comes from outside.

    A process that the code forks, and that comes back from it, ends here: it must not go on with the work of its parent.
    It is a class, because a generator takes four times as long, and every result of a run passes such a block.
    """

    __slots__ = ("_process",)

    def __enter__(self) -> None:
        self._process = os.getpid()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RaisedByUser):
            return
        if os.getpid() != self._process:
            _end_of_fork(error)
        if error is not None and not is_interrupt(error):
            raise RaisedByUser(error) from error


def _end_of_fork(error: BaseException | None) -> NoReturn:
    """Ends a forked process as Python ends one: with the code of a `SystemExit`, and with a traceback of another error."""
    code = error.code if type(error) is SystemExit else int(error is not None)
    try:
        if error is not None and (type(error) is not SystemExit or not isinstance(code, int | None)):
            sys.excepthook(type(error), error, error.__traceback__)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code if isinstance(code, int) else int(code is not None))


@contextmanager
def saving(directory: Path) -> Iterator[None]:
    """Is `users_code` for a method that writes files: a disk that takes no more suspends the run, and no member fails.

    Raises:
        Suspended: the disk is full, or failed.
    """
    try:
        with users_code():
            yield
    except RaisedByUser as raised:
        if (refusal := refused_storage(raised.error, directory)) is None:
            raise
        raise disk.suspended(refusal, directory) from refusal
