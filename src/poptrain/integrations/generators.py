"""Random generators of numpy and Python: their states as a checkpoint holds them, and a random stream for each member of a
framework that is not PyTorch."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

State = Any  # of one generator, of numpy's or Python's form
Generators = dict[str, State]  # the states of the global generators, as a checkpoint holds them
Generator = np.random.Generator | np.random.RandomState | random.Random
GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)  # that code may keep


class HasGenerators(Protocol):
    """A member that keeps the states of its generators while it does not train."""

    _random: Generators | None


@contextmanager
def stream(member: HasGenerators, seed: int | None = None) -> Iterator[None]:
    """Uses the member's own random stream inside the ``with`` block, and restores that of the process.

    `seed` begins a new stream; None continues the member's.
    """
    outside = read_generators()
    try:
        if seed is not None:
            np.random.seed(seed % 2**32)
            random.seed(seed)
        elif member._random is not None:
            put_generators(member._random)
        yield
        member._random = read_generators()
    finally:
        put_generators(outside)


def read_generators() -> Generators:
    """Returns the states of the global generators of numpy and Python."""
    return {"numpy": _of_numpy(np.random.get_state()), "python": _of_python(random.getstate())}


def put_generators(state: Generators) -> None:
    """Sets the global generators of numpy and Python."""
    np.random.set_state(_to_numpy(state["numpy"]))
    random.setstate(_to_python(state["python"]))


def read_generator(generator: Generator) -> State:
    """Returns the state of one of the `GENERATORS`."""
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return _of_numpy(generator.get_state()) if isinstance(generator, np.random.RandomState) else _of_python(generator.getstate())


def put_generator(generator: Generator, state: State) -> None:
    """Sets one of the `GENERATORS`."""
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(_to_numpy(state))
    else:
        generator.setstate(_to_python(state))


def _of_numpy(state: State) -> list[State]:
    kind, words, *rest = state
    return [kind, np.array(words), *rest]


def _to_numpy(state: State) -> tuple[State, ...]:
    kind, words, *rest = state
    return kind, np.asarray(words, np.uint32), *rest


def _of_python(state: State) -> list[State]:
    version, words, gauss = state
    return [version, np.array(words, np.uint32), gauss]


def _to_python(state: State) -> tuple[State, ...]:
    version, words, gauss = state
    return version, tuple(int(word) for word in words), gauss
