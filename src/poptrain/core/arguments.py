"""Checks of arguments that many functions have: one rule, one sentence."""

from __future__ import annotations

import os
import re
from sys import float_info

import numpy as np

from poptrain.core.counting import counted
from poptrain.core.errors import UsageError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # Path("s3://bucket") has one slash less
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # of terminals, and of the direction of text
_SURROGATE = re.compile(r"[\ud800-\udfff]")
LONGEST_PATH = 4096  # characters
LONGEST_NAME = 255  # bytes of one part of a path
SCALARS = frozenset(
    {np.bool_, np.str_, *(np.dtype(code).type for code in "bhilqBHILQefd")}
)  # the numpy scalars that `plain` knows


def plain(value: object) -> object:
    """Returns a scalar of numpy as the Python number, text or flag that it stands for; anything else as it is."""
    return value.item() if type(value) in SCALARS else value  # type: ignore[attr-defined]


def as_whole(value: object) -> str:
    """Returns what to write instead of a float such as 1e5, which is not an int for Python, to be put after a message."""
    return f" Write {int(value):,}.".replace(",", "_") if isinstance(value, float) and value.is_integer() else ""


def check_place(what: str, place: object) -> None:
    """Raises a `UsageError` unless `place` can be the path of a directory or file of this machine.

    Args:
        what: the function and the argument, as ``run: directory``.
        place: what the user passed.
    """
    path = os.fspath(place) if isinstance(place, os.PathLike) else place
    if not isinstance(path, str) or not path.strip():
        raise UsageError(f"{what}={place!r}, expected a path, for example 'runs/first'.")
    if _CONTROL.search(path):
        raise UsageError(f"{what}={path!r} contains control characters: use another name.")
    if len(path) > LONGEST_PATH:
        raise UsageError(f"{what}={path[:40]!r}… has {counted(len(path), 'character')}, but a path has at most {LONGEST_PATH:,}.")
    try:
        longest = max(os.fsencode(path).split(os.fsencode(os.sep)), key=len)
    except UnicodeEncodeError:
        raise UsageError(f"{what}={path!r} contains characters that no file name can hold: use another name.") from None
    if len(longest) > LONGEST_NAME:
        start = os.fsdecode(longest[:40])
        raise UsageError(
            f"{what}: the name {start!r}… has {counted(len(longest), 'byte')}, but a name has at most {LONGEST_NAME}."
        )
    if path == "~" or path.startswith("~/"):
        raise UsageError(f"{what}={path!r}: only a shell expands '~'; pass os.path.expanduser({path!r}), or a path without it.")
    if _URL.match(path):
        raise UsageError(
            f"{what}={path!r} is a URL, but the log of a run is written to a disk of this machine: pass a path. The checkpoints "
            "may be at a URL: checkpoints='s3://…'."
        )


def is_finite(value: object) -> bool:
    """True for a number that a float can hold: it is not NaN, not infinite, and not a whole number of 400 digits."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= float_info.max


def check_flag(what: str, name: str, value: object) -> None:
    """Raises a `UsageError` unless the argument `name` is True or False."""
    if not isinstance(value, bool):
        raise UsageError(f"{what}: {name}={value!r}, expected True or False.")


def check_name(what: str, name: object) -> None:
    """Raises a `UsageError` unless `name` is a text of moderate length without control characters: tables and plots show it."""
    if not isinstance(name, str) or not name or _CONTROL.search(name) or _SURROGATE.search(name) or len(name) > 200:
        raise UsageError(f"{what}={name!r:.80}: expected a name of at most 200 characters, without control characters.")


def check_seconds(what: str, name: str, value: object) -> None:
    """Raises a `UsageError` unless the argument `name` is a finite number of seconds above 0."""
    if not is_finite(value) or not value > 0:  # type: ignore[operator]  # it is a number
        raise UsageError(f"{what}: {name}={value!r:.60}, expected a finite number of seconds above 0.")


def check_number(what: str, name: str, value: object, low: float, high: float) -> None:
    """Raises a `UsageError` unless the argument `name` is a number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise UsageError(f"{what}: {name}={value!r}, expected a number from {low:g} to {high:g}.")
