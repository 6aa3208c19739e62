"""The live display: a sink that draws on a thread of its own, so that the run never waits for the screen.

On a terminal it is a table, drawn twice a second; elsewhere a line about every ten seconds.
"""

from __future__ import annotations

import contextlib
import sys
import threading

from rich.console import Console
from rich.live import Live as Screen

from poptrain.cli import show
from poptrain.cli.overview import overview, rows_that_fit
from poptrain.core import History, clock
from poptrain.core.counting import counted
from poptrain.core.protocols import Sink
from poptrain.log.reader import Record
from poptrain.views import Status, clean, short, span
from poptrain.views.format import copies_line
from poptrain.views.state import RunState
from poptrain.views.status import status_of

SCREEN_SECONDS = 0.5  # between two looks on a terminal
LINE_SECONDS = 10.0  # between two lines elsewhere


class Live(Sink[Record]):
    """Shows a run while it trains. Call `close` even if the run raises an error; a second call does nothing."""

    def __init__(self, console: Console | None = None):
        self.console = show.console(sys.stderr) if console is None else console
        self._record: Record | None = None
        self._state: RunState | None = None  # of its own: the run's thread may look at the record too
        self._screen: Screen | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def open(self, record: Record) -> None:
        """Begins to follow a record."""
        self._record, self._state = record, RunState.begin(record)
        if self.console.is_terminal:
            self._screen = Screen(console=self.console, auto_refresh=False, redirect_stdout=sys.stdout.isatty())
            self._screen.start()
        self._thread = threading.Thread(target=self._follow, name="poptrain-live", daemon=True)
        self._thread.start()

    def write(self, record: Record, history: History) -> None:
        """Does nothing: the thread looks at the record at its own pace."""

    def close(self) -> None:
        """Shows the last state and ends."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            with contextlib.suppress(Exception):
                self._draw()
        if self._screen is not None:
            self._screen.stop()
            self._screen = None

    def _follow(self) -> None:
        while not self._ended.wait(SCREEN_SECONDS if self._screen is not None else LINE_SECONDS):
            with contextlib.suppress(Exception):  # a display never stops a run
                self._draw()

    def _draw(self) -> None:
        view = status_of(self._record, self._state.read_on(self._record))
        if self._screen is None:
            self.console.print(line(view), soft_wrap=True)
        else:
            self._screen.update(overview(view, self.console.width, rows_that_fit(self.console)), refresh=True)


def line(view: Status) -> str:
    """Returns the status of a run as one line of plain text."""
    parts = [clock.utc()[11:19], f"generation {view.rounds}"]
    if view.best is not None:
        parts.append(
            f"best {clean(view.metric)} {short(view.best.score, 6)} (member {view.best.member}, step {view.best.step:,})"
        )
    if speed := view.steps_per_second or view.steps_per_second_overall:
        parts.append(f"{show.steps_per_second(speed)} steps/s")
    if view.exploits:
        newest = view.last_exploits[-1]
        parts.append(copies_line(view.exploits, newest.member, newest.donor))
    if view.failed or view.diverged:
        parts.append(counted(view.failed + view.diverged, "failure"))
    if view.left is not None:
        parts.append(f"about {span(view.left)} left")
    return "  ".join(parts)
