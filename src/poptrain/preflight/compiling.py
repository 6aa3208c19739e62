"""How long JAX compiled: what a training took for that is paid once for each program, not once for each step."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

from poptrain.core import clock

STAGES = "/jax/core/compile/"  # trace, lower and compile: how JAX's own events of them begin

Span = tuple[float, float]  # the two ends, on the monotonic clock
_watched: list[list[Span]] = []  # by each part of the program that watches at present


@contextmanager
def compilation() -> Iterator[list[Span]]:
    """Yields a list that gets the spans in which JAX compiles meanwhile. It stays empty if JAX is not loaded yet."""
    spans: list[Span] = []
    if "jax" in sys.modules:
        _listen()
    _watched.append(spans)
    try:
        yield spans
    finally:
        _watched.pop()


@cache
def _listen() -> None:
    """Asks JAX for its events, once in a process: a listener cannot be taken back in every version."""
    from poptrain._jax import jax

    def note(event: str, seconds: float, **_: str | int) -> None:
        if event.startswith(STAGES):
            end = clock.monotonic()
            for spans in _watched:
                spans.append((end - seconds, end))

    jax.monitoring.register_event_duration_secs_listener(note)


def covered(spans: Iterable[Span]) -> float:
    """Returns the seconds that lie in at least one of the spans: a trace may hold another one.

    >>> covered([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0)])
    4.0
    """
    seconds, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        seconds += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return seconds
