"""What a source shows before anything is trained: hyperparameters that are never read, state that is never saved or loaded.

Only what is certain is reported. A source that cannot be read, hyperparameters that are passed on as a whole, and a save() or
load() that calls other methods prove nothing.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator

from poptrain.core.commands import poptrain
from poptrain.trainable import AnyTrainable, JaxTrainable, Trainable, origin

Function = ast.FunctionDef | ast.AsyncFunctionDef
_OPTIMISER = re.compile(r"(optim|Adam|AdamW|SGD|RMSprop|Adagrad|Adadelta|NAdam|RAdam|LBFGS|Optimizer|Scheduler|LR)$")


def unread(trainable: AnyTrainable, names: Iterable[str]) -> list[str]:
    """Returns the hyperparameters that a trainable never reads, as far as its source proves it."""
    read: set[str] = set()
    for function, position in _readers(trainable):
        found = _keys(_parsed(function), position)
        if found is None:
            return []
        read |= found
    return [name for name in names if name.partition(".")[0] not in read] if read else []


def names_read(function: object, position: int) -> set[str] | None:
    """Returns the names that a function reads from the hyperparameters at a position; None if it may read others."""
    return _keys(_parsed(function), position)


def unsaved(trainable: AnyTrainable) -> list[str]:
    """Returns the attributes of a trainable class that hold an optimiser or a scheduler and that its `save` never mentions."""
    init, save = _methods(trainable, "__init__", "save")
    if init is None or save is None:
        return []
    saved = _mentioned(save)
    return [] if saved is None else [name for name in dict.fromkeys(_optimisers(init)) if name not in saved]


def ignores_checkpoint(trainable: AnyTrainable) -> bool:
    """True if the `save` of a trainable class uses the directory that it is given, and its `load` never does."""
    save, load = _methods(trainable, "save", "load")
    if save is None or load is None or any(isinstance(node, ast.Raise) for node in ast.walk(load)):
        return False
    return _uses(save, 1) and _argument(load, 1) is not None and not _uses(load, 1)


def saves_nothing(trainable: AnyTrainable) -> bool:
    """True if `train` of a trainable class changes the object, and `save` never uses the directory that it is given."""
    train, save = _methods(trainable, "train", "save")
    if train is None or save is None or any(isinstance(node, ast.Raise) for node in ast.walk(save)):
        return False
    return any(_changed(train)) and _mentioned(save) is not None and _argument(save, 1) is not None and not _uses(save, 1)


def checkpoint_faults(trainable: AnyTrainable, name: str) -> Iterator[str]:
    """Yields a sentence about each state that `save` or `load` of a class leaves out, as far as its source proves it."""
    tested = f"`{poptrain('check')}` tests it."
    for attribute in unsaved(trainable):
        yield (
            f"{name}.save() does not mention self.{attribute}, so that a copied or reloaded member gets a new one: save its "
            f"state too. {tested}"
        )
    if saves_nothing(trainable):
        yield (
            f"{name}.save() never uses the directory that it is given, so that a copied or reloaded member begins afresh: write "
            "there what train() changes, and read it in load()."
        )
    if ignores_checkpoint(trainable):
        yield (
            f"{name}.load() never uses the directory that it is given, so that a copied or reloaded member begins afresh: read "
            "there what save() wrote."
        )
    for attribute in unloaded(trainable):
        yield (
            f"{name}.save() stores self.{attribute}, which train() changes, but load() does not mention it, so that a copied or "
            f"reloaded member has its first value: load it too. {tested}"
        )


def _uses(function: Function, position: int) -> bool:
    """True if a function uses one of its arguments."""
    name = _argument(function, position)
    return any(isinstance(node, ast.expr) and _is(node, name) for node in ast.walk(function))


def unloaded(trainable: AnyTrainable) -> list[str]:
    """Returns the attributes of a trainable class that `save` mentions and `train` changes, and that `load` never mentions."""
    train, save, load = _methods(trainable, "train", "save", "load")
    if train is None or save is None or load is None or ignores_checkpoint(trainable):
        return []
    saved, loaded = _mentioned(save), _mentioned(load)
    if saved is None or loaded is None:
        return []
    return [name for name in dict.fromkeys(_changed(train)) if name in saved and name not in loaded]


def _methods(trainable: AnyTrainable, *names: str) -> list[Function | None]:
    """Returns the definitions of methods of a trainable class; None for each that it inherits, or that has no source."""
    own = vars(trainable) if isinstance(trainable, type) else {}
    return [_parsed(own[name]) if name in own else None for name in names]


def _mentioned(method: Function) -> set[str] | None:
    """Returns the attributes of the object that a method mentions; None if it may mention others."""
    me = _argument(method, 0)
    for node in ast.walk(method):
        if _attribute(node, me) == "__dict__" or (isinstance(node, ast.Call) and _passes_on(node, me)):
            return None
    return {name for node in ast.walk(method) if (name := _attribute(node, me)) is not None}


def _changed(train: Function) -> Iterator[str]:
    """Yields the attributes of the object that `train` sets."""
    me = _argument(train, 0)
    for node in ast.walk(train):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and (name := _attribute(node, me)) is not None:
            yield name


def _passes_on(call: ast.Call, me: str | None) -> bool:
    """True for a call of a method of the object or of its base class, and for one that is passed the object as a whole."""
    method = isinstance(call.func, ast.Attribute) and _is(call.func.value, me)
    base = isinstance(call.func, ast.Name) and call.func.id == "super"
    return method or base or any(_is(each, me) for each in call.args)


def _readers(trainable: AnyTrainable) -> Iterator[tuple[object, int]]:
    """Yields the user's functions that get hyperparameters, with the position of that argument."""
    if isinstance(trainable, JaxTrainable):
        yield from ((trainable.init, 0), (trainable.train, 1))
    elif isinstance(trainable, Trainable):
        yield origin(trainable), 1
        if trainable.init.__module__ != "poptrain.trainable":
            yield trainable.init, 0
    elif isinstance(trainable, type) and trainable.__bases__ != (object,):
        yield None, 0  # a base class, such as an adapter's, may apply any of them
    elif isinstance(trainable, type):
        for name in ("__init__", "train"):
            if (method := getattr(trainable, name, None)) is not getattr(object, name, None):
                yield method, 1
    else:
        yield None, 0


def _parsed(function: object) -> Function | None:
    """Returns the definition of a function; None if there is no source, or no plain definition."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))  # type: ignore[arg-type]  # it raises TypeError
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    first = tree.body[0] if tree.body else None
    return first if isinstance(first, Function) and not first.decorator_list else None


def _keys(function: Function | None, position: int) -> set[str] | None:
    """Returns the keys that a function reads from one of its arguments; None if it may read others."""
    name = None if function is None else _argument(function, position)
    if function is None or name is None:
        return None
    keys, uses = set[str](), 0
    for node in ast.walk(function):
        uses += isinstance(node, ast.Name) and node.id == name
        key: ast.expr | None = None
        if isinstance(node, ast.Subscript) and _is(node.value, name) and isinstance(node.ctx, ast.Load):
            key = node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is(node.func.value, name):
            key = node.args[0] if node.func.attr == "get" and node.args else None
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            keys.add(key.value)
            uses -= 1
    return keys if not uses else None


def _argument(function: Function, position: int) -> str | None:
    arguments = [*function.args.posonlyargs, *function.args.args]
    return arguments[position].arg if len(arguments) > position else None


def _is(node: ast.expr, name: str | None) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _attribute(node: ast.AST, me: str | None) -> str | None:
    return node.attr if isinstance(node, ast.Attribute) and _is(node.value, me) else None


def _optimisers(init: Function) -> Iterator[str]:
    """Yields the attributes that `__init__` sets to an optimiser or a scheduler."""
    me = _argument(init, 0)
    for node in ast.walk(init):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            made = ast.unparse(node.value.func)
            if _OPTIMISER.search(made) or ".optim." in f".{made}":
                yield from (name for target in node.targets if (name := _attribute(target, me)) is not None)
