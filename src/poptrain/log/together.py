"""Waits for several slow calls of the operating system at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread


def together(calls: Sequence[Callable[[], object]], at_a_time: int) -> None:
    """Makes all calls, several at the same time. After the first error no further call is begun.

    The threads last as long as this call, because a pool of threads would not survive a fork.

    Raises:
        BaseException: the first error, after all calls that were begun have ended.
    """
    todo, errors = list(reversed(calls)), list[BaseException]()

    def work() -> None:
        while not errors:
            try:
                call = todo.pop()
            except IndexError:
                return
            try:
                call()
            except BaseException as error:
                errors.append(error)

    started: list[Thread] = []
    with suppress(RuntimeError):  # no more threads may be started here: those that run, and this one, are enough
        for _ in range(min(len(calls), at_a_time) - 1):
            thread = Thread(target=work, name="poptrain-together", daemon=True)
            thread.start()
            started.append(thread)
    work()
    for thread in started:
        thread.join()
    if errors:
        raise errors[0]
