"""Every error that a user may meet. Each class says when it is raised, and has the exit code of the command line.

==================  ====  ============================================================================================
`PoptrainError`        1  base of all; raised itself where no other class fits
`UsageError`           2  a wrong argument, experiment file or command line
`CallError`            2  a call with an argument that does not exist, or without one that is needed
`MissingExtra`         2  an optional package is not installed
`MetricError`          2  a trainable returned no score
`Suspended`            3  the run stopped before its end and can be resumed; 130 and 143 after SIGINT and SIGTERM
`RunFailed`            4  no member can go on
`RunBusy`              5  another process writes the run directory
`LogDamaged`           1  the log was changed after it was written
`CheckpointDamaged`    1  a checkpoint was changed or removed after it was written
`Unreadable`           1  the system does not let this process read a run
==================  ====  ============================================================================================

Each class also has a `code` for programs, such as "usage" or "run-busy", which never changes.

The text is the product: one or two sentences that name what, where, what was got, what was expected and what to do.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

LONGEST_NAME = 1000  # characters of a name that may be misspelled


class PoptrainError(Exception):
    """Base of all errors that poptrain raises on purpose. Exit code 1.

    It is raised itself where no class below fits, for example when a checkpoint name is used twice.
    """

    code = "error"  # for programs: it never changes, and the text may
    exit_code = 1


class UsageError(PoptrainError, ValueError):
    """A wrong argument, experiment file or command line. Exit code 2.

    Nothing was started, or nothing was changed: the call can be repeated with the right argument.
    """

    code = "usage"
    exit_code = 2


class CallError(UsageError, TypeError):
    """A call with an argument that does not exist, or without one that is needed. Exit code 2.

    It is a `TypeError` too, as Python raises for such a call.
    """


class MissingExtra(UsageError, ImportError):
    """An optional package is not installed. Exit code 2. The message names the extra that installs it."""

    code = "missing-extra"


class MetricError(UsageError):
    """A trainable returned no metrics that a score can be read from, or a command left no checkpoint. Exit code 2.

    The run stops, so that the code can be corrected; what was trained before is in the log.
    """

    code = "metric"


class Suspended(PoptrainError):
    """The run stopped before its end and can be resumed. Exit code 3; 130 and 143 after SIGINT and SIGTERM.

    It is raised when a signal arrives, and when the disk or the storage takes no more.
    """

    code = "suspended"
    exit_code = 3

    def __init__(self, message: str, exit_code: int = 3, *, asked: bool = False):
        super().__init__(message)
        self.exit_code = exit_code
        self.asked = asked  # a person or a batch system interrupted it: nothing is wrong


class RunFailed(PoptrainError):
    """No member can go on, because all of them failed or diverged. Exit code 4."""

    code = "run-failed"
    exit_code = 4


class RunBusy(PoptrainError):
    """Another process writes this run directory, or took it over while this one was writing. Exit code 5."""

    code = "run-busy"
    exit_code = 5


class LogDamaged(PoptrainError):
    """A line in the middle of the log does not fit its checksum. Exit code 1.

    It is raised when a log is read; such a line is never skipped silently. The message says what is still valid.
    """

    code = "log-damaged"


class CheckpointDamaged(PoptrainError):
    """A stored checkpoint is missing or differs from the hash in the log. Exit code 1.

    It is raised when a checkpoint is read by hand. During a run it is a result: the task fails, and the member is replaced.
    """

    code = "checkpoint-damaged"


class Unreadable(PoptrainError):
    """The system does not let this process read a run, or a file of it. Exit code 1. Nothing of the run is wrong."""

    @classmethod
    def of(cls, error: OSError) -> Unreadable:
        """Returns the sentence about a refusal of the system."""
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in (errno.EMFILE, errno.ENFILE):
            cure = "Allow this process more open files (`ulimit -n`)."
        elif error.errno in (errno.EIO, errno.ESTALE):
            cure = "Check the disk that holds it."
        else:
            cure = "Check that you may read the run directory."
        return cls(f"{where}{error.strerror or error}. {cure}")


class RunWarning(UserWarning):
    """Something about a run that a person should know: a member failed, or a setting can't be meant. Training continues.

    Silence all of them with ``warnings.simplefilter("ignore", pt.errors.RunWarning)``.
    """


def did_you_mean(name: object, options: Iterable[object], cutoff: float = 0.6) -> str:
    """Returns ``" Did you mean 'x'?"`` for the nearest of `options`, or an empty string.

    Args:
        cutoff: the smallest likeness, from 0 to 1.
    """
    text = str(name)
    if len(text) > LONGEST_NAME:  # it is not a misspelled name, and comparing takes the square of its length
        return ""
    near = difflib.get_close_matches(text, [str(option) for option in options], n=1, cutoff=cutoff)
    return f" Did you mean {near[0]!r}?" if near else ""
