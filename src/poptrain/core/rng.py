"""Keyed randomness: a generator is made from the purpose that it serves. It is never stored, copied or resumed."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from poptrain.core.answering import answering

if TYPE_CHECKING:
    import numpy.typing as npt

_MASK = 0xFFFFFFFF


@answering
def rng(seed: int, *path: int | str) -> np.random.Generator:
    """Returns a new generator for one purpose, for example ``rng(seed, task_id, "explore")``.

    Equal keys give equal streams, and different keys independent ones (Philox under a 128-bit key). So the order in which
    decisions are made, repeated or resumed cannot change them.

    Args:
        seed: of the run.
        path: what the generator is for: task ids, names.

    >>> float(rng(0, 7, "explore").random()) == float(rng(0, 7, "explore").random())
    True
    """
    key = hashlib.blake2b(repr((seed, *path)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(_Key(key)))  # type: ignore[arg-type]  # numpy accepts any ISeedSequence


class _Key(ISeedSequence):
    """The key itself in place of a seed sequence: otherwise numpy asks the system for entropy that is never used."""

    def __init__(self, key: bytes):
        self._key = key

    def generate_state(self, n_words: int, dtype: npt.DTypeLike = np.uint32) -> npt.NDArray[np.uint32]:
        return np.frombuffer(self._key, dtype)[:n_words]


def task_seed(seed: int, task: int) -> int:
    """Returns the 32-bit seed of a task. It is a bijection of the task id, so no seed appears twice in a run.

    It consists of two rounds of murmur3's 32-bit finaliser, each a bijection, with keys drawn from the run's seed.
    """
    first, second = _task_keys(seed)
    return _mix(_mix((task & _MASK) ^ first) ^ second)


def task_seeds(seed: int, first: int, count: int) -> list[int]:
    """Returns `task_seed` of `count` tasks from `first` on, computed together."""
    keys = _task_keys(seed)
    ids = np.arange(first, first + count, dtype=np.uint64) & _MASK
    seeds: list[int] = _mix_all(_mix_all(ids ^ keys[0]) ^ keys[1]).tolist()
    return seeds


def chunk_seed(seed: int, chunk: int) -> int:
    """Returns the seed of one part of a task, counted from 0; part 0 has the seed of the task."""
    return seed if chunk == 0 else _mix(_mix(seed) ^ (0x9E3779B9 * chunk & _MASK))


@lru_cache(maxsize=64)
def _task_keys(seed: int) -> tuple[int, int]:
    key = hashlib.blake2b(repr((seed, "task_seed")).encode(), digest_size=8).digest()
    return int.from_bytes(key[:4], "little"), int.from_bytes(key[4:], "little")


def _mix(x: int) -> int:
    x ^= x >> 16
    x = x * 0x85EBCA6B & _MASK
    x ^= x >> 13
    x = x * 0xC2B2AE35 & _MASK
    return x ^ (x >> 16)


def _mix_all(x: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """Returns `_mix` of each number. The 32-bit numbers are in 64-bit words, so that their products fit."""
    x = x ^ x >> 16
    x = x * 0x85EBCA6B & _MASK
    x = x ^ x >> 13
    x = x * 0xC2B2AE35 & _MASK
    return x ^ x >> 16
