"""What a program reports: metrics as JSON, and the last words of one that failed. It keeps little of a long output."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from poptrain.core.errors import MetricError
from poptrain.trainable.pattern import Pattern

LONGEST = 1 << 20  # bytes of a line that may be JSON
TAIL = 40  # lines of the standard error that a failure quotes


class Heard:
    """Takes the output of a program in pieces; keeps the metrics among its lines, and the tail of its standard error.

    Args:
        patterns: of lines with metrics; other metrics are lines of JSON.
    """

    def __init__(self, patterns: Sequence[Pattern] = ()) -> None:
        self._patterns = patterns
        self.metrics: dict[str, object] = {}
        self.tail: deque[str] = deque(maxlen=TAIL)
        self._open = {False: b"", True: b""}  # the line that has not ended yet, of each stream

    def add(self, data: bytes, is_error: bool) -> None:
        """Takes the next piece of one of the streams."""
        *lines, rest = (self._open[is_error] + data).split(b"\n")
        self._open[is_error] = rest[-LONGEST:]
        for line in lines:
            self._line(line, is_error)

    def end(self) -> None:
        """Takes lines that ended without a newline."""
        for is_error, rest in self._open.items():
            self._line(rest, is_error)
        self._open = {False: b"", True: b""}

    def last_words(self) -> str:
        """Returns the last line of the standard error that says something."""
        return next((line for line in reversed(self.tail) if line.strip()), "").strip()

    def _line(self, line: bytes, is_error: bool) -> None:
        for pattern in self._patterns:
            self.metrics.update(pattern.numbers(line.decode(errors="replace")))
        if is_error:
            text = line.decode(errors="replace").rsplit("\r", 1)[-1]  # of a progress bar, its last state
            if text.strip():
                self.tail.append(text[:2000])
        else:
            self.metrics.update(_object(line) or {})


def metrics_in(path: Path, before: tuple[int, int] | None) -> dict[str, object]:
    """Returns the metrics in a file that the program has written: one JSON object, or one on each line.

    Args:
        before: `stamp` of the file before the program ran.

    Raises:
        MetricError: the program did not write it, or it holds no JSON object.
    """
    if stamp(path) in (None, before):
        raise MetricError(f"the command did not write the file {path.name!r}, which metrics= names.")
    data = path.read_bytes()
    if whole := _object(data):
        return whole
    found: dict[str, object] = {}
    for line in data.splitlines():
        found.update(_object(line) or {})
    if not found:
        raise MetricError(f'the file {path.name!r}, which metrics= names, holds no JSON object such as {{"score": 0.9}}.')
    return found


def stamp(path: Path) -> tuple[int, int] | None:
    """Returns what changes when a file is written; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _object(line: bytes) -> dict[str, object] | None:
    """Returns the JSON object in a line; None if it is something else."""
    line = line.strip()
    if not (line.startswith(b"{") and line.endswith(b"}")):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return {key: math.nan if value is None else value for key, value in found.items()}  # how many languages write NaN
