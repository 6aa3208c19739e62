"""Scores that are not those of an interval, because no episode ended in it: a warning when that begins, and when it returns.

A member counts the episodes that ended as the metric `episodes`, or returns their returns. An interval without any has a score
that is older, or that of a part of an episode. Selection then compares such scores, and copies are made by chance.
"""

from __future__ import annotations

from collections.abc import Sequence

from poptrain.core import History, Result
from poptrain.core.counting import counted
from poptrain.engine.notices import warn
from poptrain.log.writer import LogWriter
from poptrain.trainable.episodes import counts_returns, fix_of

ROUNDS = 2  # of results at the beginning of a run, in which an episode should end
RECENT = 4  # rounds of an earlier session that are looked at
BEGIN, LATER = "no episode has ended", "no episode ended"  # what is reported, as the log calls it


class StaleScores:
    """Warns where no episode ends, in the log too, so that `status` shows it. Each kind is reported once in a run.

    Args:
        seats: of the algorithm.
        trainable: of the user; it may know what helps besides longer intervals.
    """

    def __init__(self, log: LogWriter, history: History, seats: int, trainable: object):
        self._log, self._seats, self._fix = log, seats, fix_of(trainable)
        self._reported = {fields.get("about") for type, fields, _ in log.record.events if type == "warning"}
        self._trained = self._stale = 0  # results that count episodes, and those of them without any
        self._ended, self._returns = False, counts_returns(trainable)  # an episode has ended; trainings report returns
        for id in range(max(history.n - RECENT * seats, 0), history.n):  # of earlier sessions
            if (result := history.result(id)) is not None:
                self._stale += self._is_stale(history, result)

    def see(self, history: History, results: Sequence[Result]) -> None:
        """Takes new results, and warns at the first that shows it."""
        for result in results:
            if not self._is_stale(history, result):
                continue
            self._stale += 1
            task, steps = history.task(result.task), history.step(result.task) - history.begin(result.task)
            if self._ended:
                where = f"member {task.member}: {LATER} in the interval of {counted(steps, 'step')} up to step {result.step:,}"
                self._report(LATER, f"{where}, so its score, {history.sign * result.score:g}, is not of this interval")
            elif self._stale >= ROUNDS * self._seats:
                where = f"no episode ended in the first {ROUNDS} rounds of intervals of {counted(steps, 'step')}"
                self._report(BEGIN, f"{where}, so no score is that of a whole episode")

    def summary(self) -> None:
        """Reports how many intervals had no episode, if it was more than the one that was named."""
        if self._stale > 1 and LATER in self._reported:
            warn(
                f"no episode ended in {self._stale:,} of {counted(self._trained, 'interval')}, so their scores are not their own."
            )

    def _is_stale(self, history: History, result: Result) -> bool:
        """Returns whether a result counts episodes, and none ended in its interval."""
        task, ended = history.task(result.task), result.metrics.get("episodes")
        if not result.healthy or not (task.steps > 0 or task.seconds is not None):
            return False
        self._returns |= bool(result.returns)
        if ended is None and not self._returns:
            return False
        self._trained += 1
        found = bool(ended) or (ended is None and bool(result.returns))
        self._ended |= found
        return not found

    def _report(self, about: str, text: str) -> None:
        if about in self._reported:
            return
        self._reported.add(about)
        text += (
            ", and copies are made by chance. Use an interval of the number of environments times the steps of an episode or "
            f"more, use fewer environments, or {self._fix}"
        )
        self._log.note("warning", about=about, text=text)
        warn(f"{text}.")
