"""The script that a command line runs, such as ``train.py`` in ``python train.py --lr {lr}``: it exists, and what it imports."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.fingerprint import short_hash

_PYTHON = re.compile(r"python[\d.]*")
_SCRIPT = re.compile(r".+\.(py|sh|R|jl|js|pl|rb)")
MOST = 100  # files of a script that are hashed
_WITH_VALUE = ("-W", "-X")  # options of Python that take the next word


def check_script(program: str, words: Sequence[str | None], where: Path) -> None:
    """Raises a `UsageError` if the script or module that a program should run does not exist.

    Args:
        program: its path.
        words: that follow it; None: a word with a placeholder, which is not known yet.
        where: the directory in which the program will run.
    """
    is_python = bool(_PYTHON.fullmatch(Path(program).name)) or program == sys.executable
    kind, name = _python_runs(words) if is_python else _other_runs(words)
    if name is None:
        return
    if kind == "module":
        top = name.partition(".")[0]
        known = program != sys.executable or importlib.util.find_spec(top) is not None  # another Python has other modules
        if not known and not (where / top).is_dir() and not (where / f"{top}.py").is_file():
            raise UsageError(
                f"command: there is no module {name!r} to run: it is not installed, and not in {str(where.resolve())!r}, where "
                "the command runs. Correct its name, or pass cwd=…."
            )
    elif not (where / name).exists():
        folder = (where / name).parent
        near = did_you_mean(Path(name).name, [each.name for each in folder.glob("*.*")]) if folder.is_dir() else ""
        raise UsageError(
            f"command: there is no script {name!r} in {str(where.resolve())!r}, where the command runs: correct its path, or "
            f"pass the directory as cwd=….{near}"
        )


def _python_runs(words: Sequence[str | None]) -> tuple[str, str | None]:
    """Returns what Python runs: ("script" or "module", its name); None if it is neither, or not known yet."""
    rest = iter(words)
    for word in rest:
        if word is None or word in ("-", "-c") or word.startswith("-c"):
            return "script", None
        if word.startswith("-m"):
            return "module", word[2:] or next(rest, None)
        if word in _WITH_VALUE:
            next(rest, None)
        elif not word.startswith("-"):
            return "script", word
    return "script", None


def _other_runs(words: Sequence[str | None]) -> tuple[str, str | None]:
    """Returns the first word that looks like a script, unless it may be the value of an option."""
    before: str | None = ""
    for word in words:
        if word is not None and _SCRIPT.fullmatch(word) and before is not None and not before.startswith("-"):
            return "script", word
        before = word
    return "script", None


def files_of_module(words: Sequence[str | None], where: Path) -> Iterator[Path]:
    """Yields the file of the module that ``-m`` names, if it is in the directory in which the program runs."""
    for before, word in pairwise(words):
        if before == "-m" and word is not None:
            found = [_file_of(where, word), _file_of(where, f"{word}.__main__")]
            yield from (path for path in found if path is not None)


def hashed_files(files: Iterable[Path], where: Path) -> dict[str, str]:
    """Returns a short hash of each file, and of the files next to a Python script that it imports; by name.

    Args:
        files: that a command line names.
        where: the directory in which the program runs, from which a module that ``-m`` names imports.
    """
    found: dict[str, str] = {}
    waiting = list(files)
    while waiting and len(found) < MOST:
        file = waiting.pop(0)
        name = file.name if file.name != "__init__.py" else f"{file.parent.name}/{file.name}"
        if name in found:
            continue
        data = file.read_bytes()
        found[name] = short_hash(data)
        if file.suffix == ".py":
            waiting += [
                path
                for module in _imported(data)
                if (path := _file_of(file.parent, module) or _file_of(where, module)) is not None
            ]
    return found


def _imported(source: bytes) -> Iterator[str]:
    """Yields the modules that a script imports anywhere."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file_of(folder: Path, module: str) -> Path | None:
    """Returns the file of a module in a folder; None if it is elsewhere."""
    path = folder.joinpath(*module.split("."))
    return next((each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()), None)
