"""The watch: it knows which tasks have no result yet, and since when, and reports a task that takes far longer than usual.

An executor cannot know that a step hangs, or that its worker was stopped; but the run sees that nothing comes back. `status`
finds the same in the log (`views.status`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from poptrain.core import Result, Task, clock
from poptrain.core.waiting import limit_of, sentence, usual_of

PERIOD = 5.0  # seconds between two looks
SLOW = 5.0  # seconds after which a line that the disk has not stored is reported
RECENT = 101  # results that the usual time is taken from
ADVICE = "timeout= of the executor ends such tasks by itself"  # unless its configuration has an `overdue` of its own


class Writing:
    """A line of the log is written inside the ``with`` block, for which the run waits."""

    __slots__ = ("since", "slow")

    def __init__(self) -> None:
        self.since: float | None = None  # when it was begun
        self.slow = SLOW  # after how many seconds it is reported

    def __enter__(self) -> None:
        self.slow, self.since = SLOW, clock.monotonic()

    def __exit__(self, *_: object) -> None:
        self.since = None


class Watch:
    """Follows the tasks of one session. It is a context manager, whose thread looks every few seconds.

    Args:
        announce: is called with each line that a person should read, from a thread.
        advice: what to do about a task that takes too long, besides an interrupt.
    """

    def __init__(self, announce: Callable[[str], None], advice: str = ADVICE):
        self._announce, self._advice = announce, advice
        self._since: dict[int, tuple[int, float]] = {}  # by task: member, and when the executor got it; the oldest first
        self._waits: deque[float] = deque(maxlen=RECENT)  # seconds from there to the result
        self._durations: deque[float] = deque(maxlen=RECENT)  # seconds of training alone, of all that came together
        self._newest = clock.monotonic()  # when the newest result came
        self._limits: dict[int, float] = {}  # by task that was reported: after how many seconds it is reported again
        self.writing = Writing()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poptrain-watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def begun(self, tasks: Sequence[Task]) -> None:
        """Notes tasks that the executor gets now."""
        now = clock.monotonic()
        if not self._since:
            self._newest = now
        for task in tasks:
            self._since[task.id] = task.member, now

    def ended(self, results: Sequence[Result]) -> None:
        """Notes results that came back."""
        self._newest = now = clock.monotonic()
        for result in results:
            if (known := self._since.pop(result.task, None)) is not None:
                self._waits.append(now - known[1])
            self._limits.pop(result.task, None)
        if results:
            self._durations.append(sum(result.seconds for result in results))  # each of a batch has a part of the time

    def disk(self) -> str:
        """Returns a sentence if the disk takes very long over a line of the log, and again after twice as long; else ""."""
        since = self.writing.since
        if since is None or (waited := clock.monotonic() - since) <= self.writing.slow:
            return ""
        self.writing.slow = 2 * waited
        return (
            f"the disk has been storing a line of the log for {waited:.0f} s, and the run waits: it is slow, or does not answer"
        )

    def longest(self) -> str:
        """Returns the task that has been without a result for the longest time, for people; empty if there is none."""
        for member, since in list(self._since.values())[:1]:
            return f"member {member} for {clock.monotonic() - since:.0f} s"
        return ""

    def look(self) -> list[str]:
        """Returns a sentence for each task that is overdue, and again when it has waited twice as long.

        A task is overdue if it has waited ten times as long as tasks usually do, in the queue and in training; or if nothing at
        all has come back for ten times the usual duration of a task: then the oldest one is at fault, or all of them.
        """
        now, found = clock.monotonic(), []
        waits, durations = usual_of(list(self._waits)), usual_of(list(self._durations))
        limit, stuck = limit_of(waits), now - self._newest > limit_of(durations)
        for task, (member, since) in list(self._since.items()):
            waited, usual, least = now - since, waits, limit
            if stuck:
                waited, usual, least = now - max(self._newest, since), durations, limit_of(durations)
            if waited > self._limits.get(task, least):
                self._limits[task] = 2 * waited
                found.append(sentence(member, waited, usual))
            if stuck or since > now - limit:
                break  # the others wait for the oldest one, or are younger
        return found

    def _run(self) -> None:
        while not self._ended.wait(PERIOD):
            if text := self.disk():
                self._announce(text)
            for text in self.look()[:3]:
                self._announce(f"{text}; Ctrl-C suspends the run; {self._advice}")
