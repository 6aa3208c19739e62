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
        known = [each for call in added for each in _texts(call)] if _all_here(nodes) else []
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


def _all_here(nodes: Sequence[ast.AST]) -> bool:
    """True if all options are added in this file: its parsers are made here, from nothing, and passed to nothing else."""
    parsers: set[str] = set()
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _name_of(node.value) == "ArgumentParser":
            parsers |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    made = [call for call in calls if _name_of(call).endswith("Parser")]
    passed = [each for call in calls for each in (*call.args, *(keyword.value for keyword in call.keywords))]
    return (
        bool(parsers)
        and all(_name_of(call) == "ArgumentParser" and not any(each.arg == "parents" for each in call.keywords) for call in made)
        and not any(isinstance(each, ast.Name) and each.id in parsers for each in passed)
    )


def _name_of(call: ast.Call) -> str:
    """Returns the last part of the name of what is called."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""


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
