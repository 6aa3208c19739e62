"""A disk that fails at a planned operation, and names that no file may have: for tests of the log and of checkpoints."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from poptrain.log.disk import FS

BAD_NAMES = [
    "", ".", "..", "../x", "a/b", "/etc/passwd", "a/../b", "a\\b", "C:\\x", "\\\\host\\share", "http://x#y", "a\0b",
    "a\n", "\na", " a", "a b", "a\t", "-rf", "_a", ".hidden", "~", "~root", "$HOME", "`id`", "a;b", "a|b", "a*", "a?",
    "ä", "a\u202e", "٣", "a:b", "a'b", 'a"b', "<a>", "%2e%2e", "a%00", "x" * 129, None, 3, b"a",
]  # fmt: skip


class Crash(BaseException):
    """The process is gone: no operation after this one happens."""


class FaultyFS(FS):
    """A disk with a plan: the `at`-th change (from 0) fails with `error`, or kills the process if that is None.

    Args:
        stays: the fault lasts: all later operations fail as well. A crash always lasts.
        half: the failing operation, if it writes, first writes half of its bytes.
        only: count only operations of these names.
    """

    at_a_time = 1  # operations have an order

    def __init__(self, at: int = -1, error: int | None = errno.ENOSPC, stays=False, half=False, only=()):
        self.at, self.error, self.stays, self.half, self.only = at, error, stays or error is None, half, only
        self.operations: list[tuple[str, str]] = []
        self._now = False

    def _op(self, name: str, path: Path) -> None:
        if self.only and name not in self.only:
            return
        self.operations.append((name, Path(path).name))
        number = len(self.operations) - 1
        self._now = self.at >= 0 and (number == self.at or (self.stays and number > self.at))
        if self._now and not (self.half and number == self.at and name in ("append", "write_new")):
            self._fail()

    def _write(self, fd: int, data: bytes) -> int:
        if self._now:
            os.write(fd, bytes(data)[: len(data) // 2])
            self._fail()
        return super()._write(fd, data)

    def _fail(self) -> None:
        if self.error is None:
            raise Crash
        raise OSError(self.error, os.strerror(self.error))
