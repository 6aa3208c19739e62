"""What worker processes can import, and that the program can be imported without running again.

A spawned process imports the main module again and finds functions by their names. What it does not find there, a lambda, a
local function or one from a notebook, is sent by its code (`by_value`). A script that calls `run` at its top level would start
itself over and over, which is found here before anything is started.
"""

from __future__ import annotations

import ast
import io
import multiprocessing
import os
import pickle
import sys
from types import FrameType, FunctionType, ModuleType
from typing import Any

from poptrain.core.errors import UsageError
from poptrain.executors.by_value import ByValue
from poptrain.trainable import AnyTrainable

Found = FunctionType | type  # what pickle finds by its name, instead of writing what it contains


def sendable(trainable: AnyTrainable) -> AnyTrainable | ByValue:
    """Returns what worker processes are sent: the trainable itself, which travels by its name, or its code.

    Raises:
        UsageError: neither is possible; the message names the function and the reason.
    """
    why = why_not_importable(trainable)
    return trainable if why is None else ByValue(trainable, why)


def why_not_importable(trainable: object) -> str | None:
    """Returns why worker processes cannot import a trainable, or None if they can."""
    probe = _Probe()
    try:
        probe.dump(trainable)
    except Exception as error:
        why = _why_not(probe.seen[-1]) if probe.seen else None
        return why or f"the trainable {type(trainable).__name__} cannot be sent to a worker process ({error})"
    main = sys.modules.get("__main__")
    own = [found for found in probe.seen if found.__module__ == "__main__"]
    guarded = _guarded(_tree(main)) if own else set()
    for found in own:
        if not _comes_again(main, found):
            return f"{found.__qualname__} is defined in an interactive session, a notebook or a package's __main__"
        if found.__qualname__.partition(".")[0] in guarded:
            return f"{found.__qualname__} is defined under `if __name__ == '__main__':`, which worker processes do not execute"
    return None


def check_main(what: str = "executor='processes'", instead: str = "executor='inline'") -> None:
    """Raises a `UsageError` unless the running program may start worker processes.

    Args:
        what: asks for them.
        instead: needs none.
    """
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False) or _unguarded():
        name = os.path.basename(str(getattr(sys.modules.get("__main__"), "__file__", "this script")))
        raise UsageError(
            f"{what}: every worker process imports {name} and would start the run again: put what the script does under "
            f"`if __name__ == '__main__':`, or use {instead}."
        )
    if process.daemon:
        raise UsageError(f"{what}: this process is a daemon and cannot start other processes: use {instead}.")


class _Probe(pickle.Pickler):
    """Pickles to nowhere, and collects the functions and classes that pickle looks up by name."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), protocol=pickle.HIGHEST_PROTOCOL)
        self.seen: list[Found] = []

    def reducer_override(self, obj: object) -> Any:  # NotImplemented: pickle goes on as usual
        if isinstance(obj, (FunctionType, type)):
            self.seen.append(obj)
        return NotImplemented


def _why_not(culprit: Found) -> str | None:
    """Returns why worker processes cannot import a function or class, or None if they can."""
    name = culprit.__qualname__
    code = getattr(culprit, "__code__", None)
    where = f" ({os.path.basename(code.co_filename)}:{code.co_firstlineno})" if code is not None else ""
    if "<lambda>" in name:
        return f"{name}{where} is a lambda, which worker processes cannot import"
    if "<locals>" in name:
        return f"{name}{where} is defined inside a function, where worker processes cannot import it"
    found: object = sys.modules.get(culprit.__module__)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not culprit:
        return f"{culprit.__module__}.{name}{where} is not what worker processes would import by that name"
    return None


def _comes_again(main: ModuleType | None, found: Found) -> bool:
    """True if a spawned process, which imports the main module again, will find `found` in it."""
    if isinstance(found, FunctionType) and found.__code__.co_filename.startswith("<"):
        return False
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name).rpartition(".")[2] != "__main__"
    return os.path.isfile(getattr(main, "__file__", None) or "")


def _unguarded() -> bool:
    """True if the main module, which workers import again, is making a call at its top level without ``if __name__ == …``."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if main is None or (spec is not None and spec.name.rpartition(".")[2] == "__main__"):
        return False
    frame: FrameType | None = sys._getframe()
    while frame is not None and not (frame.f_code.co_name == "<module>" and frame.f_globals is vars(main)):
        frame = frame.f_back
    if frame is None:
        return False
    if (tree := _tree(main)) is None:
        return False  # there is no source that a worker could import, or none to judge by
    choices = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and node.lineno <= frame.f_lineno <= (node.end_lineno or 0)
    ]
    return not any(_is_guard(node) for node in choices)


def _tree(main: ModuleType | None) -> ast.Module | None:
    """Returns the syntax of the main module; None if it has no source that can be read."""
    try:
        with open(getattr(main, "__file__", None) or "", encoding="utf-8") as file:
            return ast.parse(file.read())
    except (OSError, ValueError, SyntaxError):
        return None


def _is_guard(node: ast.If) -> bool:
    """True if a condition tells the program from a worker process that imports it."""
    return bool({"__name__", "parent_process", "current_process"} & _names(node.test))


def _guarded(tree: ast.Module | None) -> set[str]:
    """Returns the functions and classes that a module defines only under such a condition."""
    if tree is None:
        return set()
    guards = [node for node in tree.body if isinstance(node, ast.If) and _is_guard(node)]
    inside = {name for guard in guards for node in guard.body for name in _defined(node)}
    return inside - {name for node in tree.body if node not in guards for name in _defined(node)}


def _defined(node: ast.stmt) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {each.name for each in ast.walk(node) if isinstance(each, kinds)}


def _names(test: ast.expr) -> set[str]:
    nodes = list(ast.walk(test))
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {
        node.attr for node in nodes if isinstance(node, ast.Attribute)
    }
