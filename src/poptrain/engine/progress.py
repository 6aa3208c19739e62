"""Progress: what a person who waits for a run sees. A thread of its own looks at the run, so that the run never waits for it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from poptrain.core import History, clock
from poptrain.core.counting import counted
from poptrain.engine.experiment import Experiment
from poptrain.engine.glance import Watch
from poptrain.engine.screens import Screen, screen
from poptrain.views.ending import ending_of
from poptrain.views.format import clean, short, span

Look = Callable[[], tuple[History, int]]  # returns the history so far, and the number of failed tasks
NOTES = 0.5  # seconds between two looks that show nothing, at most
SHARE = 0.004  # of the time that looks may take


@contextmanager
def shown(experiment: Experiment, before: float, look: Look, wanted: bool | Screen) -> Iterator[None]:
    """Shows the progress of a run inside the block, and its result after it; an error is reported elsewhere.

    Args:
        before: seconds of earlier sessions.
        wanted: where to show it; True: where this process shows its errors; False shows nothing.
    """
    if wanted is False:
        yield
        return
    progress = Progress(Watch(experiment, before), look, screen() if wanted is True else wanted)
    progress.start()
    try:
        yield
    except BaseException:
        progress.end(None)
        raise
    progress.end(finished)


class Progress:
    """A thread that looks at a run and shows it on a screen."""

    def __init__(self, watch: Watch, look: Look, screen: Screen):
        self._watch, self._look, self._screen = watch, look, screen
        self._began = clock.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="poptrain-progress", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def end(self, last: Callable[[Watch, History, int], str] | None) -> None:
        """Ends the thread, and replaces the line by a last one."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(Exception):
            self._screen.end(None if last is None else last(self._watch, *self._look()))

    def _follow(self) -> None:
        cost, next_look = 0.0, clock.monotonic() + self._screen.wait
        while not self._ended.wait(pause(min(NOTES, max(0.0, next_look - clock.monotonic())), cost)):
            began = time.thread_time()
            with contextlib.suppress(Exception):  # a display never stops a run
                if (now := clock.monotonic()) < next_look:  # lines in a file are rare, and the time left needs the beginning
                    self._watch.note(self._look()[0])
                else:
                    next_look = now + self._screen.wait  # also if the display fails
                    glance = self._watch.look(*self._look())
                    self._screen.show(glance.line, glance.share)
                    next_look = now + self._screen.wait
            cost = time.thread_time() - began


def pause(wait: float, cost: float) -> float:
    """Returns the seconds until the next look: `wait`, or more after one that took much time (`cost`, seconds of CPU)."""
    return max(wait, cost / SHARE)


def finished(watch: Watch, history: History, failures: int) -> str:
    """Returns the last line about a run that has ended: how long it took, and its highest score."""
    glance = watch.look(history, failures)
    members = ending_of(history)
    text = "finished: " + (f"{members}; " if members else "")
    text += f"{counted(glance.results, 'result')} in {span(glance.elapsed)}"
    if failures:
        text += f", {failures:,} {'of them ' if members else ''}failed"
    if glance.best is not None:
        text += f"; {glance.extreme} {clean(glance.metric, 30)} {short(glance.best, 5)} (member {glance.member})"
    return text
