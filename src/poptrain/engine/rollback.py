"""Going back: a task whose parent's checkpoint is damaged begins at an older checkpoint of the lineage, if there is one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from poptrain.core import History, Task
from poptrain.core.protocols import Store
from poptrain.log.writer import LogWriter


class Rollback:
    """Replaces tasks that cannot be started as they were decided, and logs it."""

    def __init__(self, log: LogWriter, store: Store):
        self._log, self._store = log, store
        self._instead: dict[int, int] = {}  # task -> the older task whose checkpoint it started from

    def source(self, task: Task) -> int | None:
        """Returns the task whose checkpoint a task started from."""
        return self._instead.get(task.id, task.parent)

    def sources(self) -> Iterable[int]:
        """Returns the older tasks whose checkpoints are in use instead."""
        return self._instead.values()

    def startable(self, history: History, task: Task) -> Task:
        """Returns a pending task as it can be started: from an older checkpoint, if that of its parent was lost."""
        if task.parent is None or not history.lost(task.parent):
            return task
        instead = fallback(history, task, self._store)
        return task if instead is None else self.begun(history, task, instead)

    def instead_of(self, history: History, task: Task) -> Task | None:
        """Returns the replacement of a task that found its checkpoint damaged; None if it was there before, or there is none."""
        instead = fallback(history, task, self._store)
        return None if instead is None or self._instead.get(task.id) == instead.parent else instead

    def begun(self, history: History, task: Task, instead: Task) -> Task:
        """Logs that a task begins at an older checkpoint, and returns it as it is started."""
        source = instead.parent
        if source is not None:
            self._instead[task.id] = source
            about = {"task": task.id, "member": task.member, "lost": task.parent, "to": source}
            self._log.note("rollback", **about, step=history.step(source), again=instead.steps - task.steps)
        return instead


def fallback(history: History, task: Task, store: Store) -> Task | None:
    """Returns a task in the place of one whose parent's checkpoint is damaged; None if the lineage has no older checkpoint.

    It begins at the nearest ancestor with a sound checkpoint, and trains the lost steps again: so it ends at the step that was
    decided, and the history needs no other entry. Evaluations, and tasks that have a teacher or a time limit, are not replaced.
    """
    if task.parent is None or task.teacher is not None or task.seconds is not None or not task.steps or task.role == "evaluator":
        return None
    source = history.task(task.parent).parent
    while source is not None:
        result = history.result(source)
        if history.ok(source) and result is not None and result.checkpoint and store.verify(result.checkpoint):
            again = history.step(task.parent) - history.step(source)
            return replace(task, parent=source, steps=task.steps + again) if again >= 0 else None
        source = history.task(source).parent
    return None
