"""Options of a Python script that argparse reads as something else: ``type=bool``, and names that it completes."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from poptrain.core.errors import UsageError

Parts = tuple[tuple[str, str | None], ...]  # of a word: texts, each followed by a placeholder


def check_options(words: Sequence[Parts], space: object, files: Iterable[Path]) -> None:
    """Raises a `UsageError` if argparse would read an option with a placeholder as something else.

    With ``type=bool`` every text but the empty one is True. A name that it does not know it completes to a longer one.

    Args:
        words: of the command.
        space: what is tuned; ranges by name.
        files: that the command names.
    """
    filled = dict(_filled(words))
    for file in files:
        if not filled or file.suffix != ".py":
            continue
        nodes = _nodes(file)
        added = [node for node in nodes if _adds_argument(node)]
        for option in (each for call in added if _is_bool(call) for each in _texts(call)):
            name = filled.get(option)
            if isinstance(space, Mapping) and name in space and "" not in getattr(space[name], "options", ()):
                raise UsageError(
                    f"command: {file.name} has the option {option} with type=bool, which reads every text but '' as True, also "
                    f"'False', so {name!r} would have no effect: tune {name}=pt.Choice('True', ''), or correct the script."
                )
        known = [each for call in added for each in _texts(call)]
        for option, name in filled.items():
            longer = [each for each in known if option.startswith("--") and each.startswith(option) and each != option]
            if longer and not any(_mentions(node, option) for node in nodes):
                raise UsageError(
                    f"command: {file.name} has no option {option}, and would take it as {longer[0]}: write the whole name, or "
                    f"correct the placeholder {{{name}}}."
                )


def _filled(words: Sequence[Parts]) -> Iterator[tuple[str, str]]:
    """Yields options with the placeholder that is their whole value: ``--flag {flag}`` and ``--flag={flag}``."""
    before = ""
    for word in words:
        if len(word) == 1 and word[0][1] is not None:
            text, name = word[0]
            option = text.removesuffix("=") if text.endswith("=") else "" if text else before
            if option.startswith("-"):
                yield option, str(name)
        before = word[0][0] if len(word) == 1 and word[0][1] is None else ""


def _nodes(file: Path) -> list[ast.AST]:
    try:
        return list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError, OSError, RecursionError):
        return []


def _adds_argument(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument"


def _texts(node: ast.AST) -> Iterator[str]:
    """Yields the names of an option that is added."""
    arguments = node.args if isinstance(node, ast.Call) else []
    yield from (each.value for each in arguments if isinstance(each, ast.Constant) and isinstance(each.value, str))


def _is_bool(node: ast.AST) -> bool:
    given = node.keywords if isinstance(node, ast.Call) else []
    return any(each.arg == "type" and isinstance(each.value, ast.Name) and each.value.id == "bool" for each in given)


def _mentions(node: ast.AST, option: str) -> bool:
    """True if an option may be defined here: as a text, as a field or a parameter, or if names are not completed at all."""
    name = option.strip("-").replace("-", "_")
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and node.value.strip("-").replace("-", "_") == name
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.target.id == name
    return (isinstance(node, ast.arg) and node.arg == name) or (isinstance(node, ast.keyword) and node.arg == "allow_abbrev")
