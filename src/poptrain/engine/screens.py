"""Where progress is shown: one live line on a terminal, a bar in a notebook, a line now and then in a file or a pipe."""

from __future__ import annotations

import html
import io
import os
import shutil
import sys
import threading
from collections.abc import Callable
from typing import Protocol, TextIO, cast

from poptrain.core.interactive import notebook

FIRST_LINE = 10.0  # seconds until the first line in a file
LONGEST_WAIT = 60.0  # seconds between two lines in a file, at most


class Screen(Protocol):
    """Shows the newest line about a run."""

    @property
    def wait(self) -> float:
        """Seconds until the next look."""
        ...

    def show(self, line: Callable[[int | None], str], share: float | None) -> None:
        """Shows how far the run is.

        Args:
            line: returns the text for a number of columns; None: as long as it is.
            share: the part of the run that is done, from 0 to 1; None: unknown.
        """
        ...

    def end(self, line: str | None) -> None:
        """Replaces what is shown by a last line; None leaves nothing."""
        ...


def screen() -> Screen:
    """Returns the screen for where this process shows its errors: a notebook, a terminal, or a file."""
    if notebook():
        return NotebookBar()
    return TerminalLine(sys.stderr) if sys.stderr is not None and sys.stderr.isatty() else PlainLines()


class PlainLines:
    """Lines for a file or a pipe, more seldom the longer the run takes."""

    def __init__(self) -> None:
        self.wait = FIRST_LINE

    def show(self, line: Callable[[int | None], str], share: float | None) -> None:
        print(line(None), file=sys.stderr, flush=True)
        self.wait = min(1.5 * self.wait, LONGEST_WAIT)

    def end(self, line: str | None) -> None:
        if line is not None:
            print(line, file=sys.stderr, flush=True)


class TerminalLine:
    """One line at the bottom of a terminal. What the program prints meanwhile scrolls above it."""

    wait = 0.5

    def __init__(self, terminal: TextIO):
        self._terminal, self._lock = terminal, threading.RLock()
        self._shown = self._partial = False
        self._above: dict[str, _Above] = {}
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, io.TextIOBase) and stream.isatty():
                self._above[name] = _Above(stream, self)
                setattr(sys, name, self._above[name])

    def show(self, line: Callable[[int | None], str], share: float | None) -> None:
        with self._lock:
            if not self._partial:  # else a line of the program is still being written, for example a bar of its own
                columns = shutil.get_terminal_size().columns
                self._write(f"\r\x1b[K{line(columns - 1)}")
                self._shown = True

    def end(self, line: str | None) -> None:
        with self._lock:
            self.clear()
            for name, above in self._above.items():
                if getattr(sys, name) is above:
                    setattr(sys, name, above.stream)
            if line is not None:
                self._write(("\n" if self._partial else "") + line + "\n")

    def clear(self) -> None:
        """Removes the line from the terminal."""
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = False

    def pass_on(self, stream: TextIO, text: str) -> int:
        """Writes what the program prints, above the line."""
        with self._lock:
            self.clear()
            if text:
                self._partial = not text.endswith("\n")
            return stream.write(text)

    def _write(self, text: str) -> None:
        self._terminal.write(text)
        self._terminal.flush()


class _Above(io.TextIOBase):
    """A stream of the program on the same terminal: it writes above the line."""

    def __init__(self, stream: io.TextIOBase, line: TerminalLine):
        self.stream, self._line = cast(TextIO, stream), line

    def write(self, text: str) -> int:
        return self._line.pass_on(self.stream, text)

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only here
        return self.stream.encoding

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)


class NotebookBar:
    """A bar with a line of text below the cell, in the place of the one before."""

    wait = 0.5

    def __init__(self) -> None:
        self._id = f"poptrain-{os.urandom(6).hex()}"
        self._shown = False

    def show(self, line: Callable[[int | None], str], share: float | None) -> None:
        value = "" if share is None else f' value="{share:.4f}"'
        bar = f'<progress max="1"{value} style="width: 12em; vertical-align: middle"></progress>'
        self._display(line(None), f"{bar} <code>{html.escape(line(None))}</code>")

    def end(self, line: str | None) -> None:
        if line is not None:
            self._display(line, f"<code>{html.escape(line)}</code>")
        elif self._shown:
            self._display("", "")

    def _display(self, text: str, markup: str) -> None:
        from IPython.display import display  # it is loaded already: this is a notebook

        data = {"text/plain": text, "text/html": f"<div>{markup}</div>"}
        show: Callable[..., object] = display
        show(data, raw=True, display_id=self._id, update=self._shown)
        self._shown = True
