"""One call of a program: its output is passed on while it runs, and everything that it started ends with it.

The program is the leader of a process group of its own, so that Ctrl-C reaches poptrain alone. What has left the group is found
by a mark (`leftover`). A guard, a shell that waits at a pipe, ends all of it if this process is killed.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from poptrain.core import clock
from poptrain.executors.command import leftover
from poptrain.executors.machine import scratch

GRACE = 2.0  # seconds between SIGTERM and SIGKILL for a program that takes too long
POLL = 0.2  # seconds between checks that a program which has closed its output, or whose children keep it open, still runs
GUARD = """read -r done || for round in 1 2 3; do
kill -s KILL -- "-$1"
for each in $(grep -lsF "$2=" /proc/[0-9]*/environ); do each=${each#/proc/}; kill -s KILL "${each%/environ}"; done
done"""  # the end of the pipe without a line: poptrain was killed


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    code: int  # its exit code; negative: the signal that ended it
    left: tuple[str, ...]  # names of the processes that it had left running, which were ended


class TimedOut(Exception):
    """The program took longer than it may."""


def run_program(
    words: Sequence[str],
    environment: Mapping[str, str],
    cwd: str | None,
    timeout: float | None,
    hear: Callable[[bytes, bool], None],
) -> Ended:
    """Returns how a program ended. Everything that it started has ended, too.

    Args:
        hear: is called with each piece of output, and with True if it is of the standard error.

    Raises:
        TimedOut: it ran for more than `timeout` seconds.
        OSError: it cannot be started.
        Suspended: the machine allows no more processes or open files.
    """
    mark = leftover.new_mark()
    with scratch():
        program = subprocess.Popen(
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment, mark: "1"},
            cwd=cwd,
            start_new_session=True,
        )
    left: dict[int, str] | None = None
    until = None if timeout is None else clock.monotonic() + timeout
    try:
        with _guarded(program.pid, mark):
            _listen(program, until, hear)
            _await(program, until)
            left = leftover.running(program.pid, mark)
    except TimedOut:
        _signal(program, signal.SIGTERM)
        with suppress(TimedOut):
            _await(program, clock.monotonic() + GRACE)
        raise
    finally:
        if left is None or left:
            leftover.end_all(program.pid, mark)
        _signal(program, signal.SIGKILL)  # it is not reaped yet, so the number is still its own
        program.wait()
        for stream in (program.stdout, program.stderr):
            if stream is not None:
                stream.close()
    return Ended(program.returncode, tuple((left or {}).values()))


def _listen(program: subprocess.Popen[bytes], until: float | None, hear: Callable[[bytes, bool], None]) -> None:
    """Passes output on until both streams end; or the program ends, while its children keep them open."""
    with selectors.DefaultSelector() as selector:
        for stream, is_error in ((program.stdout, False), (program.stderr, True)):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, is_error)
        while selector.get_map():
            ready = selector.select(_pause(until))
            for key, _ in ready:
                if data := os.read(key.fd, 1 << 16):
                    hear(data, key.data)
                else:
                    selector.unregister(key.fileobj)
            if not ready and _ended(program):
                return


def _await(program: subprocess.Popen[bytes], until: float | None) -> None:
    """Waits until the program ends, without reaping it."""
    wait = 0.001
    while not _ended(program):
        clock.sleep(min(wait, _pause(until)))
        wait = min(2 * wait, POLL)


def _pause(until: float | None) -> float:
    if until is None:
        return POLL
    left = until - clock.monotonic()
    if left <= 0:
        raise TimedOut
    return min(POLL, left)


def _ended(program: subprocess.Popen[bytes]) -> bool:
    return os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal(program: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(program.pid, number)


@contextmanager
def _guarded(group: int, mark: str) -> Iterator[None]:
    """Ends a process group, and what has the mark, if this process is killed inside the block."""
    with scratch():
        guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "sh", str(group), mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield
    finally:
        with suppress(BrokenPipeError):
            guard.communicate(b"done\n")
