"""Command lines that work when a person pastes them into the shell that started this process."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

_left: list[Path] = []  # the directories that this process has left for now


@contextmanager
def working_in(folder: Path | None) -> Iterator[None]:
    """This process works in another directory, or stays where it is (None); printed commands are still for its shell."""
    if folder is None:
        yield
        return
    _left.append(Path.cwd())
    try:
        with chdir(folder):
            yield
    finally:
        _left.pop()


def poptrain(*words: object) -> str:
    """Returns a command of poptrain, such as ``poptrain resume 'runs/a b'``.

    Where the program ``poptrain`` is not found on PATH, or belongs to another Python, it is ``python -m poptrain …``.
    """
    found = shutil.which("poptrain")
    here = found is not None and (_folder(found) == _folder(sys.executable) or _same(found, sys.argv[:1]))
    return " ".join(("poptrain" if here else f"{python()} -m poptrain", *(shlex.quote(str(word)) for word in words)))


def python(elsewhere: bool = False) -> str:
    """Returns how a shell starts the Python that runs this process: ``python`` if that is the one on PATH, else its path.

    Args:
        elsewhere: the shell is in another directory than this process.
    """
    path = sys.executable
    if not path:
        return "python"
    for name in ("python", "python3"):
        found = shutil.which(name)  # the folder decides: an environment's file is often a link to the system's Python
        if found is not None and _folder(found) == _folder(path) and os.path.realpath(found) == os.path.realpath(path):
            return name
    path = os.path.abspath(path)
    if not elsewhere and not _left and os.path.splitdrive(path)[0] == os.path.splitdrive(os.getcwd())[0]:
        near = os.path.relpath(path)
        path = near if len(near) < len(path) and os.sep in near else path
    return shlex.quote(path)


def runnable(line: str, elsewhere: bool = False) -> str:
    """Returns a command line that begins with ``python`` as the shell of this process takes it; `elsewhere` is as in `python`."""
    first, space, rest = line.partition(" ")
    return f"{python(elsewhere)}{space}{rest}" if first == "python" else line


def _folder(path: str) -> str:
    return os.path.realpath(os.path.dirname(os.path.abspath(path)))


def _same(path: str, others: list[str]) -> bool:
    return any(os.path.exists(other) and os.path.samefile(path, other) for other in others)
