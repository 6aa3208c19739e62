"""How a run speaks to a person: lines on standard error, and warnings. Inside a study every sentence names its run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context

Listener = Callable[[str, str], None]  # takes LINE or WARNING, and the text
LINE, WARNING = "line", "warning"

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listened(listener: Listener) -> Iterator[None]:
    """Sends what a run reports inside the block to `listener`, instead of showing it."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def passed_on(kind: str, text: str) -> bool:
    """Sends a sentence to the listener; returns False if there is none."""
    if (listener := _listener.get()) is None:
        return False
    before = _listener.set(None)  # what the listener itself reports is shown
    try:
        listener(kind, text)
    finally:
        _listener.reset(before)
    return True


def say(text: str) -> None:
    """Prints a line on standard error, also from inside a handler that came in the middle of another write."""
    with suppress(RuntimeError, OSError, ValueError):
        if not passed_on(LINE, text):
            print(text, file=sys.stderr, flush=True)


def say_from_a_thread() -> Callable[[str], None]:
    """Returns `say` for another thread: with the listener of this one."""
    context = copy_context()
    return lambda text: context.run(say, text)
