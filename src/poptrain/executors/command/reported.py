"""What a program reports: metrics among the lines that it prints, and the last words of one that failed.

It keeps little of a long output. A carriage return ends a line as well, so that a progress bar hides nothing.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence

from poptrain.core.errors import MetricError
from poptrain.executors.command.lines import object_at_the_end, object_of, plain
from poptrain.executors.command.near import Near
from poptrain.executors.command.words import last_words
from poptrain.trainable.pattern import Pattern

LONGEST = 1 << 23  # bytes of a line, or of an object over several lines, that may be JSON
TAIL = 40  # lines of the standard error that a failure quotes
_END = re.compile(rb"(\r\n|\n|\r(?=.))", re.DOTALL)  # a return at the end may be half of one


class Found:
    """Metrics that were found so far; later ones replace earlier ones.

    Args:
        metric: the key of the score.
    """

    def __init__(self, metric: str = ""):
        self.metric = metric
        self.metrics: dict[str, object] = {}
        self.stray = False  # whether `steps` comes from an object without the score, such as one with all settings

    def take(self, found: Mapping[str, object]) -> None:
        """Takes a JSON object."""
        self.metrics.update(found)
        if "steps" in found:
            self.stray = bool(self.metric) and self.metric not in found

    def read(self, numbers: Mapping[str, float]) -> None:
        """Takes what a pattern has read."""
        self.metrics.update(numbers)
        self.stray &= "steps" not in numbers

    def check(self, steps: int, before: int = 0) -> None:
        """Raises a `MetricError` if the steps that were trained may be a setting of the program, or its count of all calls.

        Args:
            steps: that it was asked to train.
            before: steps of the member before the call.
        """
        if before and self.metrics.get("steps") == before + steps:
            raise MetricError(
                f"the command reported 'steps' = {before + steps}, which is the count from the beginning; but 'steps' are those "
                f"of one call, here {steps}: print the count under another name, such as 'step'."
            )
        if self.stray and self.metrics["steps"] != steps:
            raise MetricError(
                f"the command reported 'steps' = {self.metrics['steps']!r:.40} in an object without {self.metric!r}, where "
                f"{steps} were to be trained. If it counts the steps that this call has trained, put it next to {self.metric!r}; "
                "if it is a setting, do not print it as a line of JSON."
            )


class Heard:
    """Takes the output of a program in pieces; keeps the metrics among its lines, and the tail of its standard error.

    Args:
        patterns: of lines with metrics; other metrics are lines of JSON.
        metric: the key of the score.
    """

    def __init__(self, patterns: Sequence[Pattern] = (), metric: str = "") -> None:
        self._patterns = patterns
        self.found, self.near = Found(metric), Near(metric)
        self._recent: deque[str] = deque(maxlen=10 * TAIL)
        self._streams = {False: _Stream(), True: _Stream()}
        self._several = _Several(metric)
        self._unread: dict[object, str] = {}  # what is wrong with the last line of a pattern, or of JSON, by the pattern

    @property
    def tail(self) -> list[str]:
        """The end of the standard error."""
        return list(self._recent)[-TAIL:]

    @property
    def metrics(self) -> dict[str, object]:
        """The metrics that were found so far."""
        return self.found.metrics

    def add(self, data: bytes, is_error: bool) -> None:
        """Takes the next piece of one of the streams."""
        stream = self._streams[is_error]
        if not (b"\n" in data or b"\r" in data or stream.rest.endswith(b"\r")):
            stream.rest += data
            if len(stream.rest) > 2 * LONGEST:
                stream.cut = stream.cut or bytes(stream.rest[:1])
                del stream.rest[:-LONGEST]
            return
        *pieces, rest = _END.split(bytes(stream.rest) + data)
        stream.rest = bytearray(rest)
        for line, end in zip(pieces[::2], pieces[1::2], strict=True):
            self._line(plain(line), is_error, stream, redrawn=end == b"\r")

    def end(self) -> None:
        """Takes lines that ended without a newline."""
        for is_error, stream in self._streams.items():
            self._line(plain(bytes(stream.rest).removesuffix(b"\r")), is_error, stream, redrawn=False)
            stream.rest = bytearray()
        self._several.give_up(self.near)

    def check(self) -> None:
        """Raises a `MetricError` if the last line with metrics could not be read, so that those of an earlier one would count."""
        for unread in self._unread.values():
            raise MetricError(f"the command printed metrics that cannot be read: {unread}")

    def last_words(self) -> str:
        """Returns the line of the standard error that names the cause of a failure."""
        return last_words(list(self._recent))

    def _line(self, line: str, is_error: bool, stream: _Stream, redrawn: bool) -> None:
        """Takes a line. `redrawn`: a carriage return ended it, so the next one replaces it on a screen."""
        after_bar, stream.after_return = stream.after_return, redrawn
        if not line.strip():
            return
        cut, stream.cut = stream.cut, b""
        fits = [self._fits(pattern, line) for pattern in self._patterns]
        if is_error and not redrawn:
            self._recent.append(line[:2000])
        if not (self._json(line, is_error, after_bar) or any(fits)):
            self.near.look(line, is_error)
            broken = self.near.of_broken(line) if not is_error else ""
            if cut == b"{" and line.rstrip().endswith("}"):
                broken = f"a line of JSON is longer than {LONGEST:,} bytes"
            if broken:
                self._unread[None] = f"{broken}, and what was printed before it would be out of date."

    def _fits(self, pattern: Pattern, line: str) -> bool:
        """Takes the numbers that a pattern finds in a line; returns whether there are any."""
        numbers, missed = pattern.read(line)
        self.found.read(numbers)
        if missed:
            self._unread[pattern] = (
                f"pattern={pattern.text!r} cannot read the number in {line.strip()[-100:]!r}, and an earlier one would be out of "
                "date: a number is one such as 1234, 0.91 or 1e-3."
            )
        elif numbers:
            self._unread.pop(pattern, None)
        return bool(numbers)

    def _json(self, line: str, is_error: bool, after_bar: bool) -> bool:
        """Takes a line if it is JSON on the standard output; returns whether it is."""
        if is_error:
            return False
        found = object_of(line)
        if found is None and after_bar and (last := object_at_the_end(line)) is not None:  # next to a progress bar
            found = last[1]
        if found is not None:
            self.found.take(found)
            if self.found.metric in found:
                self._unread.pop(None, None)
        whole = self._several.line(line, self.found, self.near)
        return found is not None or whole


class _Stream:
    """The line of a stream that has not ended yet."""

    def __init__(self) -> None:
        self.rest = bytearray()
        self.cut = b""  # the first byte of a line that is longer than what is kept
        self.after_return = False  # whether the line is drawn over another one


class _Several:
    """A JSON object over several lines: from a brace alone to a brace alone. It counts only if it has the score.

    Args:
        metric: the key of the score.
    """

    def __init__(self, metric: str):
        self._metric = metric
        self._lines: list[str] = []
        self._size = self._indent = 0
        self._before: tuple[dict[str, object], bool] = {}, False

    def line(self, line: str, found: Found, near: Near) -> bool:
        """Takes a line of the standard output; returns whether it ends such an object."""
        text, indent = line.strip(), len(line) - len(line.lstrip())
        if text == "{" and (not self._lines or indent <= self._indent):
            self.give_up(near)
            self._size, self._indent = 0, indent
            self._before = dict(found.metrics), found.stray
        elif not self._lines:
            return False
        self._lines.append(line)
        self._size += len(line)
        ends = text == "}" and indent == self._indent
        whole = object_of("\n".join(self._lines)) if ends else None
        if whole is None:
            if ends or self._size > LONGEST:
                self.give_up(near)
            return False
        self._lines = []
        if not self._metric or self._metric in whole:
            found.metrics, found.stray = self._before  # without an object on one line inside it
            found.take(whole)
        else:
            near.without(list(whole))
        return True

    def give_up(self, near: Near) -> None:
        """Stops waiting for the end of the object."""
        if self._lines:
            near.unfinished("\n".join(self._lines[-20:])[:2000])
        self._lines = []
