"""Notices about failures: a warning at the first one, with its error, and a summary at the end. A failure is never silent."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from poptrain.core import History, Result
from poptrain.core.errors import RunWarning

MOST_TEXTS = 3  # different errors that the summary lists
ROUNDS = 2  # of results, in which an episode should end


class Failures:
    """Counts the tasks of this session that failed or diverged.

    Args:
        directory: of the run, where the tracebacks are; None: they are not kept.
    """

    def __init__(self, directory: str | Path | None):
        self.count = 0
        self._directory = directory
        self._results = self._begun = self._failed = 0  # all, those that began from a checkpoint, those of them that failed
        self._texts: Counter[str] = Counter()

    def see(self, history: History, results: Sequence[Result]) -> None:
        """Takes new results. The first failure is reported at once.

        Args:
            history: with these results, in which scores are maximised.
        """
        for result in results:
            task = history.task(result.task)
            loaded = task.parent is not None
            bad = not result.healthy and result.kind != "ended"
            self._results += 1
            self._begun += loaded
            self._failed += loaded and bad
            if not bad:
                continue
            why = result.error or f"the score was {history.sign * result.score}"
            self._texts[why] += 1
            self.count += 1
            if self.count == 1:
                warn(self._first(history, result, why))

    def summary(self) -> None:
        """Reports all failures, if there was more than one, and what they have in common."""
        if self.count < 2:
            return
        listed = "; ".join(f"{count} × {text}" for text, count in self._texts.most_common(MOST_TEXTS))
        more = len(self._texts) - MOST_TEXTS
        text = f"{self.count:,} of {self._results:,} tasks failed: {listed}{f'; and {more} other errors' if more > 0 else ''}."
        if self._failed == self._begun >= 2:
            text += (
                f" All {self._begun} tasks that began from a checkpoint failed: is load() complete? `poptrain check` tests it."
            )
        warn(text + self._tracebacks())

    def _first(self, history: History, result: Result, why: str) -> str:
        task = history.task(result.task)
        what = "failed" if result.error else "diverged"
        text = f"member {task.member} {what} after step {history.begin(task.id):,} (task {task.id}): {why.removesuffix('.')}."
        if result.error and self._directory is not None:
            text += f" The traceback is in {Path(self._directory) / 'errors'}."
        return text + " Training continues without it; further failures are counted and summed up at the end."

    def _tracebacks(self) -> str:
        any_error = any(not text.startswith("the score was") for text in self._texts)
        return f" Tracebacks: {Path(self._directory) / 'errors'}." if any_error and self._directory is not None else ""


class NoEpisodes:
    """Warns once if the trainings of the first rounds count their episodes, and not one ended: no score is of a whole one.

    Args:
        seats: of the algorithm.
    """

    def __init__(self, seats: int):
        self._left: int | None = ROUNDS * seats  # results that may still count none; None: one has ended, or it was announced

    def see(self, history: History, results: Sequence[Result]) -> None:
        """Takes new results."""
        for result in results:
            ended = result.metrics.get("episodes")
            if self._left is None or ended is None or history.task(result.task).steps == 0:
                continue
            self._left = None if ended else self._left - 1
            if self._left == 0:
                self._left = None
                steps = history.step(result.task) - history.begin(result.task)
                warn(
                    f"no episode ended in the first {ROUNDS} rounds of intervals of {steps:,} steps, so the scores are not those "
                    "of whole episodes, and copies are made by chance: use a longer interval."
                )


class AllFailed(NamedTuple):
    """Why no member can go on."""

    reason: str  # for the log
    text: str


def all_failed(history: History, directory: str | Path | None) -> AllFailed | None:
    """Returns why a run has failed, if the newest task of every member did; else None."""
    heads = [int(id) for id in history.heads() if id >= 0]
    if not heads or any(history.ok(id) for id in heads) or (first := history.result(heads[0])) is None:
        return None
    why = first.error or f"the score is {first.score}"
    last = "no result was ever finite"
    if (best := history.best()) is not None:
        last = f"the last finite result is that of member {history.task(best).member} at step {history.step(best)}"
    where = f" Tracebacks are in {Path(directory) / 'errors'}." if directory is not None and first.error else ""
    return AllFailed(why, f"all {len(heads)} members failed; {last}. First: {why.removesuffix('.')}.{where}")


def warn(text: str) -> None:
    """Warns about a run, at the place in the user's code that began it.

    A filter that turns warnings into errors must not stop a run: then the text is printed.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "poptrain":
        level, frame = level + 1, frame.f_back
    try:
        warnings.warn(text, RunWarning, stacklevel=level)
    except RunWarning:
        print(f"warning: {text}", file=sys.stderr)
