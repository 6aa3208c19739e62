"""Processes that are forked for a part of a long computation: each has all that this one has, and sends back a little.

A fork is not known to be safe outside of Linux, and in a program with threads or with JAX. A process can die at any time, so the
first process must be able to do its work as well.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

Work = Callable[[int], None]  # what a process does; its argument is the pipe that it writes to
_STOPS = (signal.SIGINT, signal.SIGTERM)


def can_fork() -> bool:
    """True if nothing but this thread runs in this process, as far as one can know."""
    return sys.platform == "linux" and threading.active_count() == 1 and "jax" not in sys.modules


@dataclass(frozen=True)
class Fork:
    """A forked process, and the pipe from it."""

    process: int
    pipe: int


@contextmanager
def forks(works: Sequence[Work]) -> Iterator[list[Fork | None]]:
    """Forks a process for each work (None where the system has no room for it), and kills at the end those that still run."""
    children: list[Fork | None] = []
    try:
        for work in works:
            with _uninterrupted():
                children.append(_forked(work))
        yield children
    finally:
        for child in filter(None, children):
            os.close(child.pipe)
            with suppress(ProcessLookupError):
                os.kill(child.process, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(child.process, 0)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keeps Ctrl-C back: it must not raise an error in a new process, or before the process is known."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _forked(work: Work) -> Fork | None:
    pipe: tuple[int, ...] = ()
    try:
        read, write = pipe = os.pipe()
        with warnings.catch_warnings():  # of the threads that numpy keeps for products of matrices, which are not used
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
    except OSError:
        for each in pipe:
            os.close(each)
        return None
    if not process:
        _do(work, write)
    os.close(write)
    return Fork(process, read)


def _do(work: Work, pipe: int) -> NoReturn:
    """Is what a child does: it ends without a traceback, because the first process has one."""
    try:
        for number in _STOPS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: it ends with the first process
        work(pipe)
    finally:
        os._exit(0)
