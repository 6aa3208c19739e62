"""Options of a Python script that read a value as another one: those of argparse with ``type=bool``."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from poptrain.core.errors import UsageError

Parts = tuple[tuple[str, str | None], ...]  # of a word: texts, each followed by a placeholder


def check_bools(words: Sequence[Parts], space: object, files: Iterable[Path]) -> None:
    """Raises a `UsageError` if a script would read False as True: ``bool("False")`` is True.

    Args:
        words: of the command.
        space: what is tuned; ranges by name.
        files: that the command names.
    """
    if not isinstance(space, Mapping):
        return
    false = {name for name, found in space.items() if any(option is False for option in getattr(found, "options", ()))}
    filled = dict(_filled(words))  # the placeholder of each option
    if not false & set(filled.values()):
        return
    for file in files:
        if file.suffix != ".py":
            continue
        for option in _read_as_bool(file):
            if (name := filled.get(option)) in false:
                raise UsageError(
                    f"command: {file.name} has the option {option} with type=bool, for which every text is True, also 'False', so "
                    f"{name!r} would have no effect: tune {name}=pt.Choice(0, 1) and let the script read it with type=int, or use "
                    "action=argparse.BooleanOptionalAction and a pt.Choice of its two options."
                )


def _filled(words: Sequence[Parts]) -> Iterator[tuple[str, str]]:
    """Yields options with the placeholder that is their whole value: ``--flag {flag}`` and ``--flag={flag}``."""
    before = ""
    for word in words:
        if len(word) == 1 and word[0][1] is not None:
            text, name = word[0]
            option = text.removesuffix("=") if text.endswith("=") else before if not text else ""
            if option.startswith("-"):
                yield option, str(name)
        before = word[0][0] if len(word) == 1 and word[0][1] is None else ""


def _read_as_bool(file: Path) -> Iterator[str]:
    """Yields the options of a script that are added with ``type=bool``."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError, OSError, RecursionError):
        return
    for node in nodes:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument"):
            continue
        if any(each.arg == "type" and isinstance(each.value, ast.Name) and each.value.id == "bool" for each in node.keywords):
            yield from (each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str))
