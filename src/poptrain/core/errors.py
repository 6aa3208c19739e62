"""Every error that a user may meet; each knows the exit code of the command line.

The text is the product: one or two sentences that name what, where, what was got, what was expected and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PoptrainError(Exception):
    """Base of all errors that poptrain raises on purpose."""

    exit_code = 1


class UsageError(PoptrainError, ValueError):
    """A wrong argument, experiment file or command line: nothing was started."""

    exit_code = 2


class MissingExtra(UsageError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class MetricError(UsageError):
    """A trainable returned no metrics that a score can be read from; the run stops, so that the code can be mended."""


class Suspended(PoptrainError):
    """The run stopped before its end and can be resumed (full disk, signal)."""

    exit_code = 3

    def __init__(self, message: str, exit_code: int = 3):
        super().__init__(message)
        self.exit_code = exit_code


class RunFailed(PoptrainError):
    """No member can go on: all of them failed or diverged."""

    exit_code = 4


class RunBusy(PoptrainError):
    """Another process writes this run directory, or took it over."""

    exit_code = 5


class LogDamaged(PoptrainError):
    """A line in the middle of the log does not fit its checksum; it is never skipped in silence."""


class CheckpointDamaged(PoptrainError):
    """A stored checkpoint is missing or differs from the hash that the log recorded."""


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Returns ``" Did you mean 'x'?"`` for the nearest of `options`, or an empty string."""
    near = difflib.get_close_matches(str(name), [str(option) for option in options], n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
