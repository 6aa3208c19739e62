"""What a shell would do with a command line, and poptrain does not: each is refused, with what to write instead."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from poptrain.core.errors import UsageError

# Quoted parts, which may have anything, except for variables in double quotes; then what a shell would act on.
_PARTS = re.compile(
    r"""'[^']*'|\\.|(?P<double>"(?:\\.|[^"\\])*")|(?P<operator>\d*(?:[|;<>]|&&?)[|;<>&\d]*)"""
    r"""|(?P<variable>\$[\w{(]|`)|(?<!\S)(?P<home>~(?=[/\s]|$))|(?<!\S)(?P<comment>\#)""",
    re.DOTALL,
)
_VARIABLE = re.compile(r"(?<!\\)(?:\\\\)*(\$[\w{(]|`)")
_SETS = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)=(\S*)")
_FIRST = {
    "cd": "pass the directory as cwd=…",
    "source": "name the program of that environment instead, such as venv/bin/python",
    ".": "name the program of that environment instead, such as venv/bin/python",
    "conda": "use conda run -n NAME python …",
    "export": "pass variables as env={…}",
    "nohup": "leave it out: poptrain waits for the program",
    "exec": "leave it out",
    "time": "leave it out: the report has the seconds of each call",
    **dict.fromkeys(("module", "set", "ulimit", "eval", "if", "for"), "write it into a script of your own, and call that"),
}


def check_no_shell(line: str, argument: str) -> None:
    """Raises a `UsageError` if a line has something that only a shell understands. In quotes it is a part of a word.

    >>> check_no_shell("python train.py --sizes '1;2' {lr}", "line")
    """
    if argument == "line" and (found := _SETS.match(line)):
        name, value = found.groups()
        raise UsageError(
            f"command: the line sets the variable {name}, which only a shell does: pass env={{{name!r}: {value.strip(';&')!r}}} "
            "instead."
        )
    first = (line.split() or [""])[0]
    advice = _FIRST.get(first, "")
    if advice and (first != "conda" or line.split()[1:2] == ["activate"]):
        raise UsageError(f"command: the line begins with {first!r}, which needs a shell, and no shell runs it: {advice}.")
    for match in _PARTS.finditer(line):
        if operator := match["operator"]:
            raise UsageError(
                f"command: {argument}= has {operator!r}, which only a shell understands, and no shell runs it: leave it out"
                f"{_why(operator)}, or quote it if the program should get it."
            )
        variable = match["variable"] or ((found := _VARIABLE.search(match["double"] or "")) and found[1])
        if variable:
            text = re.match(r"\$\w+|\$\{\w+\}?|.{1,12}", line[line.index(variable, match.start()) :])
            shown = text[0] if text else variable
            own = f" (a placeholder is {shown[1:]})" if re.fullmatch(r"\$\{\w+\}", shown) else ""
            raise UsageError(
                f"command: {argument}= has {shown}, which only a shell replaces, and no shell runs it{own}: insert the value "
                "with Python (os.environ), or put it in single quotes if the program should get it as it is."
            )
        if match["home"]:
            raise UsageError(
                f"command: {argument}= has a path that begins with ~, which only a shell replaces: insert the directory with "
                "Python (Path.home())."
            )
        if match["comment"]:
            raise UsageError(
                f"command: {argument}= has a comment, which only a shell leaves out: remove it, or put the word with # in quotes."
            )


def check_pipe(words: Sequence[str]) -> None:
    """Raises a `UsageError` if a shell that the command runs would hide a failure: the exit code of a pipe is its last one's.

    >>> check_pipe(["bash", "-c", "set -o pipefail; python train.py | tee log"])
    """
    if len(words) < 3 or Path(words[0]).name not in ("bash", "sh", "dash", "zsh", "ksh") or "pipefail" in " ".join(words):
        return
    for before, word in pairwise(words):
        piped = any(re.fullmatch(r"\|&?", each["operator"] or "") for each in _PARTS.finditer(word))
        if re.fullmatch(r"-\w*c", before) and piped:
            raise UsageError(
                f"command: in {word[:60]!r}, a program that fails before the pipe would look as if it had succeeded: begin with "
                "'set -o pipefail;' (of bash), or leave the pipe out."
            )


def without_line_ends(line: str) -> str:
    """Returns a line without the line ends that a backslash continues.

    >>> without_line_ends("python train.py \\\\\\n  --lr {lr}")
    'python train.py    --lr {lr}'
    """
    return line.replace("\\\r\n", " ").replace("\\\n", " ")


def not_a_program(name: str, place: Path) -> str:
    """Returns why a name is not a program that can be run, and what to do."""
    if not place.is_file():
        return "pass its path, or install it"
    if "/" not in name:
        return f"it is a file in the directory of the command: write ./{name}" + (
            "" if os.access(place, os.X_OK) else f", after chmod +x {name}"
        )
    other = f"python {name}" if place.suffix == ".py" else f"bash {name}" if place.suffix == ".sh" else "the program that runs it"
    return f"the file is not executable: run chmod +x {name}, or write {other}"


def _why(operator: str) -> str:
    """Returns what takes the place of an operator."""
    prints = ">" in operator or ("|" in operator and "||" not in operator)
    return " (all that the program prints is kept in output/ of the run directory)" if prints else ", call a script of your own"
