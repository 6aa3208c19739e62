"""Generations of architectures (BG-PBT): between two of them, candidates for the next one are distilled."""

from __future__ import annotations

from poptrain.core import History


def generations_of(history: History) -> list[int]:
    """Returns the generation of each task, from 0, by id; a candidate belongs to the one that it was made for."""
    numbers, number, distilling = [], 0, False
    for id in range(history.n):
        candidate = history.task(id).role == "candidate"
        number += candidate and not distilling
        distilling = candidate
        numbers.append(number)
    return numbers


def begins_of(history: History) -> tuple[int, ...]:
    """Returns the lineage step at which each generation after the first one begins: that of its first student."""
    begins: list[int] = []
    for id, generation in enumerate(generations_of(history)):
        if generation > len(begins):
            begins.append(history.begin(id))
    return tuple(begins)
