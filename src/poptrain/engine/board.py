"""The board of a study: how many of its runs are finished, which are running, and how far each of them is."""

from __future__ import annotations

from collections.abc import Callable

from poptrain.core import clock
from poptrain.core.counting import counted
from poptrain.engine.screens import FIRST_LINE, Screen
from poptrain.views.format import span

MOST_NAMES = 4  # running runs that the line names
ENOUGH = 0.01  # of the whole study that must be trained before the time left is estimated


class Board:
    """What a study shows while it goes on, on one screen for all of its runs.

    Args:
        total: runs of the study.
        screen: where it is shown; None shows nothing.
    """

    def __init__(self, total: int, screen: Screen | None):
        self.total, self.done = total, 0
        self._screen = screen
        self._began = self._shown = self._began_training = clock.monotonic()
        self._first: dict[str, float] = {}  # by run that trained in this session: its share when it was first known
        self._newest: dict[str, float] = {}
        self._running: dict[str, None] = {}
        self.doing = ""

    def starts(self, doing: str) -> None:
        """Notes what the study waits for before a run trains. A live screen shows it at once."""
        self.doing = doing
        if self._screen is not None and self._screen.wait < FIRST_LINE:
            self._shown = clock.monotonic() - self._screen.wait
            self.look()

    def begun(self, title: str) -> None:
        """Notes that a run begins."""
        self._running[title] = None
        self.look()

    def reached(self, title: str, share: float | None) -> None:
        """Notes the share of a run that is done; None: it is not known in advance."""
        if share is not None:
            if not self._first:
                self._began_training = clock.monotonic()
            self._first.setdefault(title, share)
            self._newest[title] = share
        self.look()

    def ended(self, title: str) -> None:
        """Notes that a run is finished, or has failed."""
        self._running.pop(title, None)
        if title in self._newest:
            self._newest[title] = 1.0
        self.done += 1
        self.look()

    def pause(self) -> float:
        """Returns the seconds until the next look."""
        if self._screen is None:
            return 60.0
        return max(0.05, self._shown + self._screen.wait - clock.monotonic())

    def look(self) -> None:
        """Shows the line, if it is time."""
        now = clock.monotonic()
        if self._screen is not None and now - self._shown >= self._screen.wait:
            self._shown = now
            self._screen.show(self.line, self.share)

    def end(self, text: str | None) -> None:
        """Replaces the line by a last one."""
        if self._screen is not None:
            self._screen.end(text)

    @property
    def share(self) -> float:
        """The part of the study that is done."""
        return (self.done + sum(self._newest.get(title, 0.0) for title in list(self._running))) / self.total

    def line(self, columns: int | None = None) -> str:
        """Returns the state as text, at most `columns` wide: the parts that matter least are left out."""
        elapsed = clock.monotonic() - self._began
        parts = [f"{span(elapsed)} · {self.done} of {counted(self.total, 'run')} finished"]
        parts.append(", ".join(self._names()) or self.doing)
        if (left := self._left()) is not None:
            parts.append(f"about {span(left)} left")
        text = " · ".join(filter(None, parts))
        if columns is not None and len(text) > columns and left is not None:
            text = " · ".join((parts[0], parts[2]))
        return text[:columns]

    def _names(self) -> list[str]:
        running = list(self._running)
        names = [title + (f" {100 * self._newest[title]:.0f} %" if title in self._newest else "") for title in running]
        more = len(names) - MOST_NAMES
        return names if more < 1 else [*names[:MOST_NAMES], f"and {more} more"]

    def _left(self) -> float | None:
        """Returns the seconds that are left, by the speed of this session; None: too little was trained to tell."""
        elapsed = clock.monotonic() - self._began_training
        trained = sum(self._newest[title] - first for title, first in list(self._first.items())) / self.total
        return None if trained < ENOUGH or self.done == self.total else (1.0 - self.share) * elapsed / trained


class OnBoard:
    """The screen of one run of a study: the board."""

    def __init__(self, board: Board, title: str):
        self._board, self._title = board, title

    @property
    def wait(self) -> float:
        """Seconds until the next look."""
        return self._board.pause()

    def show(self, line: Callable[[int | None], str], share: float | None) -> None:
        """Passes the share on."""
        self._board.reached(self._title, share)

    def end(self, line: str | None) -> None:
        """Leaves the board to the study."""
