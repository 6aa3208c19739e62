"""Notices about failures: a warning at the first one, with its error, and a summary at the end. A failure is never silent."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from poptrain.core import History, Result, Task
from poptrain.core.causes import cause, diverged
from poptrain.core.commands import poptrain
from poptrain.core.counting import counted
from poptrain.core.errors import RunWarning
from poptrain.core.facts import Reported
from poptrain.core.warned import warn_user
from poptrain.engine.voice import WARNING, passed_on
from poptrain.executors.outcome import MOST_UNLOGGED, PREFIX, without_hint
from poptrain.log.disk import default as disk

MOST_CAUSES = 3  # that the summary lists
CONTINUES = {  # what to ask if every member fails that goes on from a checkpoint
    "class": "is load() complete?",
    "command": "does the program continue from its checkpoint?",
    "function": "does train() continue from a carry that it has returned?",
}


class Failures:
    """Counts the tasks of this session that failed or diverged.

    Args:
        directory: of the run, where the tracebacks are; None: they are not kept.
        metric: the name of the score.
        form: of the trainable, as `form_name` returns it.
    """

    def __init__(self, directory: str | Path | None, metric: str, form: str):
        self.count = 0
        self._continues = CONTINUES.get(form, CONTINUES["function"])
        self._directory, self._metric = None if directory is None else Path(directory), metric
        self._results = self._begun = self._failed = 0  # all, those that began from a checkpoint, those of them that failed
        self._fresh = False  # whether a member has trained that began from none
        self._causes: Counter[str] = Counter()
        self._texts: dict[str, dict[str, None]] = {}  # by cause: two different texts at most, because only the first is shown
        self._errors = False  # whether any has a traceback
        # The first failure and why, while the metrics of no member can be read: perhaps the run ends.
        self._held: tuple[Result, str] | None = None

    def see(self, history: History, results: Sequence[Result]) -> None:
        """Takes new results. The first failure is reported at once.

        Args:
            history: with these results, in which scores are maximised.
            results: in the user's sign.
        """
        for result in results:
            task = history.task(result.task)
            loaded = task.parent is not None
            bad = not result.healthy and result.kind != "ended"
            self._results += 1
            self._begun += loaded
            self._failed += loaded and bad
            self._fresh |= not loaded and not bad and (task.steps > 0 or task.seconds is not None)
            if not bad:
                continue
            why = result.error or diverged(self._metric, result.score)
            why = why if history.best() is None else without_hint(why)
            self._errors |= result.error is not None
            self._causes[cause(why)] += 1
            texts = self._texts.setdefault(cause(why), {})
            if len(texts) < 2:
                texts[why] = None
            self.count += 1
            if self.count == 1:
                self._held = result, why
        if self._held and (history.best() is not None or not _only_unread(self._causes)):
            first, why = self._held
            warn(self._first(history, first, why if history.best() is None else without_hint(why)))
            self._held = None

    def summary(self, history: History) -> None:
        """Reports all failures, if there was more than one, and what they have in common."""
        if self.count < 2 or self._held or _all_failed(history, _heads(history)):  # the error that ends the run says it
            return
        text = f"{self.count:,} of {counted(self._results, 'task')} failed: {'; '.join(self._listed())}.{self.hint()}"
        warn(text + (f" Tracebacks: {self._directory / 'errors'}." if self._errors and self._directory is not None else ""))

    def hint(self) -> str:
        """Returns a sentence about what all failures have in common; empty if nothing is known."""
        if not (self._failed == self._begun >= 2 and self._fresh):
            return ""
        return (
            f" All {counted(self._begun, 'task')} that began from a checkpoint failed: {self._continues} "
            f"`{poptrain('check')}` tests it."
        )

    def _listed(self) -> Iterator[str]:
        """Yields the most frequent causes, each with the text of its first failure."""
        for found, count in self._causes.most_common(MOST_CAUSES):
            text, *others = self._texts[found]
            yield f"{count} × {text.rstrip('.')}" + (" (the others differ in a number or a path)" if others else "")
        if (more := len(self._causes) - MOST_CAUSES) > 0:
            yield f"and {counted(more, 'other error')}"

    def _first(self, history: History, result: Result, why: str) -> str:
        task = history.task(result.task)
        what = "failed" if result.error else "diverged"
        text = f"member {task.member} {what} after step {history.begin(task.id):,} (task {task.id}): {_ended(why)}"
        if self._directory is not None:
            text += "".join(_files(self._directory, task, bool(result.error)))
        if len(_heads(history)) > 1:
            text += " The other members go on; further failures are counted and summed up at the end."
        return text


def _only_unread(causes: Iterable[str]) -> bool:
    """True if all failures are metrics that cannot be read."""
    return all(each.startswith(PREFIX) for each in causes)


def _files(directory: Path, task: Task, error: bool) -> Iterator[str]:
    """Yields a sentence for each file that says more about the failure of a task."""
    traceback = directory / "errors" / f"m{task.member:03d}-t{task.id:06d}.txt"
    printed = directory / "output" / f"m{task.member:03d}.log"
    if error:
        yield f" The traceback is in {traceback if disk.exists(traceback) else traceback.parent}."
    if disk.exists(printed):
        yield f" What the member printed is in {printed}."


class Unlogged:
    """Warns once about each metric that no log can hold, in whichever process it was returned."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def see(self, returned: object) -> None:
        """Takes what an executor returned."""
        results = returned if isinstance(returned, list) else []
        found = dict(each for result in results if isinstance(result, Reported) for each in result.unlogged)
        new = [f"{name} ({kind})" for name, kind in found.items() if name not in self._known]
        if new and len(self._known) < MOST_UNLOGGED:
            self._known |= found.keys()
            which = f"metric {new[0]} is" if len(new) == 1 else f"metrics {', '.join(new[:-1])} and {new[-1]} are"
            warn(f"the {which} not recorded: the log holds numbers, and True and False as 1 and 0.")


def _heads(history: History) -> list[int]:
    """Returns the newest task of every seat."""
    return [int(id) for id in history.heads() if id >= 0]


def _all_failed(history: History, heads: Sequence[int]) -> bool:
    """True if the newest task of every member has failed: none can go on."""
    return bool(heads) and not any(history.ok(id) or history.result(id) is None for id in heads)


class AllFailed(NamedTuple):
    """Why no member can go on."""

    reason: str  # for the log
    text: str


def all_failed(history: History, metric: str, directory: str | Path | None, hint: str = "") -> AllFailed | None:
    """Returns why a run has failed, if the newest task of every member did; else None. `hint` ends the text."""
    heads = _heads(history)
    if not _all_failed(history, heads) or (first := history.result(heads[0])) is None:
        return None
    why = first.error or diverged(metric, history.sign * first.score)
    last = "no result was ever finite"
    if (best := history.best()) is not None:
        last = f"the last finite result is that of member {history.task(best).member} at step {history.step(best)}"
    where = f" Tracebacks are in {Path(directory) / 'errors'}." if directory is not None and first.error else ""
    if len(heads) == 1:
        return AllFailed(why, f"the only member failed; {last}. Reason: {_ended(why)}{where}{hint}")
    return AllFailed(why, f"all {counted(len(heads), 'member')} failed; {last}. First: {_ended(why)}{where}{hint}")


def _ended(why: str) -> str:
    """Returns a reason as a sentence; some end with a question."""
    return why if why.endswith(("?", ".")) else f"{why}."


def warn(text: str) -> None:
    """Warns about a run, at the place in the user's code that began it.

    A filter that turns warnings into errors must not stop a run: then the text is printed.
    """
    if passed_on(WARNING, text):
        return
    try:
        warn_user(text, RunWarning)
    except RunWarning:
        print(f"warning: {text}", file=sys.stderr)
