"""Several teams in one interval: each is trained by a thread of its own, and what they changed becomes one carry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np

from poptrain.core.cpus import cpus
from poptrain.rl.memory.chunks import packed
from poptrain.rl.memory.rows import Row
from poptrain.rl.trees import Parts, stack


class Trained(Protocol):
    """A team after an interval."""

    state: Parts

    @property
    def added(self) -> np.ndarray:
        """The rows of this interval for the shared memory."""
        ...


TeamT = TypeVar("TeamT")


def side_by_side(train: Callable[[int], TeamT], teams: int) -> list[TeamT]:
    """Returns ``train(0)``, ``train(1)`` …; as many at a time as there are CPUs."""
    with ThreadPoolExecutor(min(cpus(), teams)) as threads:
        return list(threads.map(train, range(teams)))


def joined(carry: Parts, teams: Sequence[Trained], row: Row, memory: int, steps: np.ndarray) -> Parts:
    """Returns what the teams changed of a carry.

    Args:
        row: of the memory.
        memory: the most rows that a team keeps.
        steps: that each team made, (P,).
    """
    replay = packed(carry["replay"], [team.added for team in teams], row, memory)
    return stack([team.state for team in teams]) | {"replay": replay, "steps": carry["steps"] + steps}
