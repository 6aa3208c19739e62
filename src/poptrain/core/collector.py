"""Python's cycle collector, switched off during the bookkeeping of large populations.

A generation of 1,024 tasks makes some ten thousand small objects that all stay alive. The collector walks over them again and
again while they are made, which took a third of the time of a decision. Between decisions, and in the user's code, it works as
usual.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

MANY = 100_000  # new objects


class paused:
    """Stops the collector inside the ``with`` block. Blocks may be nested, and a collector that was off stays off.

    Many new objects count as old ones afterwards: else the next object that is made would start a look at all of them.
    It is a class, because a generator takes four times as long, and every result of a run passes two such blocks.

    >>> with paused():
    ...     gc.isenabled()
    False
    """

    __slots__ = ("_was",)

    def __enter__(self) -> None:
        self._was = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was:
            if gc.get_count()[0] > MANY and not gc.get_freeze_count():
                gc.freeze()  # so they are not looked at now, but where the collector looks at everything
                gc.unfreeze()
            gc.enable()


@contextmanager
def settled() -> Iterator[None]:
    """Keeps the collector away from objects that exist already; new ones inside the ``with`` block are collected as usual.

    With JAX or PyTorch loaded a full pass takes 80 ms, nearly all of it over modules and caches that never become garbage.
    Where the program has frozen objects itself, nothing is done, because the end of the block would unfreeze those too.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
