"""A member that stays in its slot does not pay for a search of the whole process for garbage in each interval.

The trainer collects garbage whenever it begins to train, so that an older model makes room. In a process that has imported a
large package, such as Transformers, that takes a quarter of a second. A trainer that has trained before has no
older model to free.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def sparing_collection(trained_before: bool) -> Iterator[Callable[[], None]]:
    """Sets all objects aside, so that collecting garbage has nothing to look through; the yielded function ends this.

    Args:
        trained_before: of this trainer; False changes nothing.
    """
    spared = trained_before and gc.get_freeze_count() == 0  # what the user has set aside must stay aside
    if spared:
        gc.freeze()

    def end() -> None:
        nonlocal spared
        if spared:
            spared = False
            gc.unfreeze()

    try:
        yield end
    finally:
        end()
