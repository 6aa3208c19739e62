"""All problems by name: those to choose on first, then those to confirm on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.value import numeric_deceptive, numeric_moving, numeric_scores, numeric_spaces
from benchmarks.value.problem import CHOOSE, CONFIRM, Problem
from benchmarks.value.tabled import TABLED
from benchmarks.value.training import TRAINING

NUMERIC: dict[str, type[Problem]] = {
    each.name: each
    for each in (
        numeric_moving.Drift, numeric_moving.Slot, numeric_moving.Delay, numeric_spaces.Useless, numeric_spaces.Integers,
        numeric_spaces.Short, numeric_scores.Returns, numeric_deceptive.Patience,
        numeric_moving.Jump, numeric_moving.Valley, numeric_moving.Long, numeric_spaces.Mixed, numeric_spaces.Corner,
        numeric_scores.Heavy, numeric_deceptive.Greedy,
    )
}  # fmt: skip
PROBLEMS: dict[str, Callable[[int], Any]] = {**NUMERIC, **TABLED, **TRAINING}


def named(words: str) -> list[str]:
    """Returns the problems of a list such as ``choose`` or ``drift,slot``: names, or "numeric", "tables", "training", "all".

    "choose" and "confirm" are the halves of the numeric ones.

    Raises:
        SystemExit: a word is not the name of a problem.
    """
    found: list[str] = []
    for word in words.split(","):
        if word in PROBLEMS:
            found.append(word)
        elif word == "numeric":
            found += NUMERIC
        elif word == "tables":
            found += TABLED
        elif word == "training":
            found += TRAINING
        elif word in (CHOOSE, CONFIRM):
            found += [name for name, each in NUMERIC.items() if each.half == word]
        elif word == "all":
            found += PROBLEMS
        else:
            raise SystemExit(
                f"--problems {word!r}: expected numeric, choose, confirm, tables, training, all "
                f"or names out of {', '.join(PROBLEMS)}."
            )
    return list(dict.fromkeys(found))
