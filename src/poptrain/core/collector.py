"""Python's cycle collector, kept out of the bookkeeping of large populations.

A generation of 1,024 tasks makes some ten thousand small objects that all stay. The collector walks over them again and again
while they are made, which was a third of the time of a decision. It goes on as always between decisions, and in the user's code.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Leaves cyclic garbage alone inside the ``with`` block; nesting is harmless, and a collector that was off stays off.

    >>> with paused():
    ...     gc.isenabled()
    False
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextmanager
def settled() -> Iterator[None]:
    """Keeps the collector from walking over what exists already; what is made inside the ``with`` block it collects as always.

    With JAX or PyTorch loaded a full pass takes 80 ms, nearly all of it over modules and caches that never become garbage. If
    somebody else has frozen objects, nothing is done: thawing would thaw theirs too.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
