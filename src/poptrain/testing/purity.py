"""Watches the state that every library of a process shares: loggers, and the global random generators."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

_CHANGES: tuple[tuple[object, str], ...] = (  # functions that change shared state, by the object that holds them
    (logging, "disable"),
    (logging.Logger, "setLevel"),
    (logging.Logger, "addHandler"),
    (logging.Logger, "removeHandler"),
    (logging.Logger, "addFilter"),
    (logging.Logger, "removeFilter"),
    (random, "seed"),
    (random, "setstate"),
    (np.random, "seed"),
    (np.random, "set_state"),
)


@contextmanager
def shared_state_untouched() -> Iterator[None]:
    """Raises an AssertionError if the ``with`` block changes a logger or a global generator, even if it changes it back.

    Loggers that did not exist before may be set up: a library does that when it is imported.
    """
    before, existing, calls = _shared_state(), {id(logger) for logger in _loggers().values()}, []
    originals = [getattr(owner, name) for owner, name in _CHANGES]

    def watched(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            if not args or not isinstance(args[0], logging.Logger):
                calls.append(name)
            elif id(args[0]) in existing:
                calls.append(f"{name} of the logger {args[0].name!r}")
            return original(*args, **kwargs)

        return call

    for (owner, name), original in zip(_CHANGES, originals, strict=True):
        setattr(owner, name, watched(name, original))
    try:
        yield
    finally:
        for (owner, name), original in zip(_CHANGES, originals, strict=True):
            setattr(owner, name, original)
    assert not calls, f"shared state was changed by {', '.join(dict.fromkeys(calls))}, if only for a while"
    after = _shared_state()
    changed = [name for name, value in before.items() if after.get(name) != value]
    assert not changed, f"shared state was changed: {', '.join(changed)}"


def _loggers() -> dict[str, logging.Logger]:
    named = logging.Logger.manager.loggerDict.items()
    return {"root": logging.root, **{name: logger for name, logger in named if isinstance(logger, logging.Logger)}}


def _shared_state() -> dict[str, object]:
    """Returns what must stay equal, by the name that a message gives it."""
    state: dict[str, object] = {
        f"the logger {name!r}": (each.level, each.disabled, each.propagate, tuple(each.handlers), tuple(each.filters))
        for name, each in _loggers().items()
    }
    _, words, position, *rest = np.random.get_state(legacy=True)
    state["numpy's global generator"] = np.asarray(words).tobytes(), position, *rest
    state["the generator of the module random"] = random.getstate()
    state["logging.disable"] = logging.root.manager.disable
    return state
