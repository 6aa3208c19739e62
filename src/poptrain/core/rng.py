"""Keyed randomness: a generator is named by what it is for, never stored, copied or resumed."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.random.bit_generator import ISeedSequence

_MASK = 0xFFFFFFFF


def rng(seed: int, *path: int | str) -> np.random.Generator:
    """Returns a fresh generator for one purpose, for example ``rng(seed, task_id, "explore")``.

    Equal keys give equal streams, different keys independent ones (Philox under a 128-bit key), so the order in which
    decisions are taken, retried or resumed cannot change them.

    >>> float(rng(0, 7, "explore").random()) == float(rng(0, 7, "explore").random())
    True
    """
    key = hashlib.blake2b(repr((seed, *path)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(_Key(key)))


class _Key(ISeedSequence):
    """The key itself in the place of a seed sequence: numpy would otherwise ask the system for entropy that is not used."""

    def __init__(self, key: bytes):
        self._key = key

    def generate_state(self, n_words: int, dtype: type = np.uint32) -> np.ndarray:
        return np.frombuffer(self._key, dtype)[:n_words]


def task_seed(seed: int, task: int) -> int:
    """Returns the 32-bit seed of a task: a bijection of the task id keyed by the run's seed, so no seed appears twice.

    Two rounds of murmur3's 32-bit finaliser, each a bijection, around keys drawn from the run's seed.
    """
    first, second = _task_keys(seed)
    return _mix(_mix((task & _MASK) ^ first) ^ second)


def task_seeds(seed: int, first: int, count: int) -> list[int]:
    """Returns `task_seed` of the tasks from `first` on, all at once."""
    keys = _task_keys(seed)
    return _mix_all(_mix_all(np.arange(first, first + count, dtype=np.uint64) & _MASK ^ keys[0]) ^ keys[1]).tolist()


def chunk_seed(seed: int, chunk: int) -> int:
    """Returns the seed of the chunk-th part of a task; chunk 0 keeps the task's own seed."""
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


def _mix_all(x: np.ndarray) -> np.ndarray:
    """Returns `_mix` of each; 32-bit numbers in 64-bit words, so that a product wraps around without harm."""
    x = x ^ x >> 16
    x = x * 0x85EBCA6B & _MASK
    x = x ^ x >> 13
    x = x * 0xC2B2AE35 & _MASK
    return x ^ x >> 16
