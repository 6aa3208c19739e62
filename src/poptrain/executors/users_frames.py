"""Where in the user's own code an exception was raised, and what the place says about the mistake."""

from __future__ import annotations

import os
import sysconfig
import traceback
from pathlib import Path
from traceback import FrameSummary

INSTALLED = {"site-packages", "dist-packages"}
PACKAGE = f"{Path(__file__).resolve().parents[1]}{os.sep}"
MACHINERY = tuple(f"{PACKAGE}{room}{os.sep}" for room in ("executors", "checkpoints"))  # around every trainable
PYTHON = f"{sysconfig.get_path('stdlib')}{os.sep}"
NAME_A_FILE = "save() and load() receive a directory: name a file in it, such as directory / 'state'"


def is_users(frame: FrameSummary) -> bool:
    """True for code that is neither of this package, nor installed, nor Python's own."""
    name = frame.filename
    return not (name.startswith((PACKAGE, PYTHON, "<frozen ")) or {*Path(name).parts} & INSTALLED)


def innermost(error: BaseException) -> FrameSummary | None:
    """Returns the innermost frame of the user's code, else of another trainable or library; None if the executor raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    trained = [frame for frame in frames if not frame.filename.startswith(MACHINERY)]
    return next((frame for frame in reversed(trained) if is_users(frame)), trained[-1] if trained else None)


def on_purpose(error: BaseException) -> bool:
    """True if a line of the user's own code raises the error, for reasons of its own."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and (frames[-1].line or "").startswith("raise") and is_users(frames[-1])


def advice_on_directory(error: BaseException) -> str:
    """Returns what to do, to be put after an error, if `save` or `load` uses its directory as a file; else an empty string."""
    if "s a directory" not in f"{error}":  # of the system; libraries in C++ repeat it
        return ""
    frame = innermost(error)
    return f"; {NAME_A_FILE}" if frame is not None and frame.name in ("save", "load") else ""
