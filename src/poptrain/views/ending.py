"""How a run ended, in words: how many members reached the end, and how many failed."""

from __future__ import annotations

from poptrain.core import History
from poptrain.core.counting import counted
from poptrain.log.notes import COMPLETE
from poptrain.views.index import unhealthy


def ending(reason: str | None, failed: int, members: int, step: int | None) -> str | None:
    """Returns why a run ended.

    The log says only that the algorithm asked for nothing more, which is also so if what is left of the members has failed.

    Args:
        reason: as it is in the log.
        failed: members whose newest task failed.
        members: all of them.
        step: that every other member has reached; None: they ended at different steps.
    """
    if reason != COMPLETE or not failed:
        return reason
    whose = "its" if members - failed == 1 else "their"
    where = f"{whose} last step" if step is None else f"step {step:,}"
    return f"{members - failed:,} of {counted(members, 'member')} reached {where}; {failed:,} failed"


def ending_of(history: History) -> str | None:
    """Returns what the failures of a run left of it that trained its budget; None if none did, or if something else ended it."""
    heads = history.heads()[history.members()].tolist()
    failed = unhealthy(history, heads)
    step = history.budget
    others = set(heads) - set(failed)
    if step is None or not failed or not others or any(history.result(id) is None or history.step(id) < step for id in others):
        return None
    return ending(COMPLETE, len(failed), len(heads), step)
