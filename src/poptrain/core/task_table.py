"""Tasks with their results as columns."""

from __future__ import annotations

from collections.abc import Sequence

from poptrain.core.facts import Result, Task, Value


def table_of(tasks: Sequence[Task], results: Sequence[Result | None], sign: int) -> dict[str, list[Value]]:
    """Returns the columns of `History.table`.

    Args:
        results: of the same tasks, in the same order; None while a task is pending.
        sign: every score is multiplied with it.
    """
    table: dict[str, list[Value]] = {
        "task": [task.id for task in tasks],
        "member": [task.member for task in tasks],
        "parent": [task.parent for task in tasks],
        "steps": [task.steps for task in tasks],
        "step": [None if result is None else result.step for result in results],
        "score": [None if result is None else sign * result.score for result in results],
        "error": [None if result is None else result.error for result in results],
        "seconds": [None if result is None else result.seconds for result in results],
    }
    for name in tasks[0].hparams if tasks else ():
        table[f"hparams.{name}" if name in table else name] = [task.hparams[name] for task in tasks]
    return table
