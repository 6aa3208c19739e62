"""The checkpoints that a run must not delete."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from poptrain.core import History
from poptrain.core.protocols import Algorithm
from poptrain.engine.intake import needed


def needed_checkpoints(
    algorithm: Algorithm, history: History, keep: Iterable[int], sources: Iterable[int], older: bool
) -> set[str]:
    """Returns the checkpoints of possible parents, of the sources of pending tasks, of the best result, and the user's.

    Args:
        keep: tasks that the user wants to keep.
        sources: older tasks from which pending ones were started.
        older: those before them in the lineages are needed too.
    """
    ids: set[int | None] = {*needed(algorithm, history), *keep, *sources, *history.heads().tolist(), history.best()}
    for task in history.pending():
        ids.add(task.parent)
        ids.add(task.teacher)
    ids.discard(None)
    if older:
        parents = history.column("parent")
        ids |= {int(parents[id]) for id in cast("set[int]", ids) if 0 <= id < history.n}
    return history.checkpoints(cast("set[int]", ids))  # one call for all
