"""A population whose members are all worse than members were at first: nothing that they hold is worth a copy.

With wide ranges it happens that no member of the first round has values that train. Then every member declines from the first
round on, truncation copies the one that declines most slowly, and small steps from its values never find the way out. So while a
population is `lost`, values are drawn from the whole ranges: those of clones, and those of members that go on, but for the
quarter whose scores rose most in their last interval (`hopeless`). It ends by itself as soon as one member is better.

PB2 and BG-PBT do so while moreover their model hears only noise (`gp.noise`). PBT has no model, so it wants more evidence: all
members are worse than each was at first. Of eight members whose scores are noise alone, one decision in 12,870 finds that.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Literal

import numpy as np

from poptrain.core import History


def lost(history: History, than: Literal["middle", "worst"] = "middle") -> bool:
    """True while every member is worse than the middle one was after its first training, or than the worst one was."""
    parents = history.column("parent")
    begins = np.where(parents >= 0, history.column("step")[parents], 0)  # an evaluation before the first training ends at 0
    first = history.scores[(history.column("steps") > 0) & (begins == 0)]
    standing = history.standing()
    now = history.scores_of(standing[standing >= 0])
    if np.isnan(first).all() or np.isnan(now).all():
        return False
    return bool(np.nanmax(now) < (np.nanmedian(first) if than == "middle" else np.nanmin(first)))


def hopeless(history: History, tasks: Sequence[int]) -> set[int]:
    """Returns the finished tasks among `tasks`, the newest of members that go on, but for the best quarter by gain."""

    def gain(id: int) -> float:
        before = history.task(id).parent
        return -inf if before is None else history.score(id) - history.score(before)

    risen = sorted(tasks, key=gain, reverse=True)
    return set(risen[-(-len(risen) // 4) :])
