"""What the code of a trainable uses besides its own source: constants, functions, classes and modules that the user wrote.

A log records it by name, so that a resumed run can tell that ``HIDDEN`` was 32 and is 64. Names are looked up as Python does it:
in the module of a function, and in its closure. Code of installed packages and of Python itself is not followed. Values that
code may change while it trains are left out: names that a function assigns, and containers that are empty at first.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import sys
import sysconfig
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace

import numpy as np

from poptrain.core import Json
from poptrain.core.fingerprint import short_hash, source_hash
from poptrain.core.user_objects import answer_of

MOST = 300  # names that are recorded
LARGEST = 1 << 22  # bytes of an array that is hashed
DEEPEST = 6  # containers inside each other

_SCRIPT = ("__main__", "__mp_main__")
_FUNCTIONS = (FunctionType, MethodType, partial, staticmethod, classmethod, property)
_OURS = Path(__file__).parents[1]
_INSTALLED = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def uses_of(what: object) -> dict[str, Json]:
    """Returns what a function, class or object uses, by name: a number as it is, anything else as a short hash."""
    found: dict[str, Json] = {}
    _Walk(found, getattr(what, "__module__", "__main__")).visit("", what)
    return dict(sorted(found.items()))


def changes(then: object, now: Mapping[str, Json]) -> list[str]:
    """Returns one line for each name whose value or code differs. A name that the log does not have is not known.

    Args:
        then: as a log recorded it; None in the log of an older version.
        now: as `uses_of` returns it.
    """
    if not isinstance(then, Mapping):
        return []
    both = [(name, then[name], value) for name, value in now.items() if name in then]
    return [
        f"{name} was {was}, is {value}" if not isinstance(was, str) and not isinstance(value, str) else f"{name} has changed"
        for name, was, value in both
        if was != value
    ]


class _Walk:
    """Follows names from one object to the next. Every function and class is visited once.

    Args:
        home: the module of the first object, whose names are written without it.
    """

    def __init__(self, found: dict[str, Json], home: str):
        self._found, self._home, self._seen = found, home, set[int]()

    def visit(self, name: str, what: object, depth: int = 0) -> None:
        """Records an object under its name, and follows what it uses; the name of the first object is empty.

        An object whose methods raise, such as a proxy that is not connected, is left out.
        """
        if len(self._found) < MOST and depth <= DEEPEST:
            answer_of(lambda: self._visit(name, what, depth), None)

    def _visit(self, name: str, what: object, depth: int) -> None:
        if name and (plain := _plain(what)) is not None:
            self._found[name] = plain
        elif isinstance(what, (type, *_FUNCTIONS)) or isinstance(getattr(what, "__wrapped__", None), FunctionType):
            if id(what) not in self._seen:
                self._seen.add(id(what))
                self._code(name, what)
        elif is_dataclass(what) or isinstance(what, (Namespace, SimpleNamespace)):
            parts = [field.name for field in fields(what)] if is_dataclass(what) else sorted(vars(what))
            for part in parts:
                self.visit(f"{name}.{part}".lstrip("."), getattr(what, part, None), depth + 1)
            self.visit("", type(what))
        elif _is_users(type(what).__module__):
            self.visit("" if not name else self._name(type(what), name), type(what))

    def _code(self, name: str, what: object) -> None:
        if isinstance(what, partial):
            for key, value in {
                "function": what.func,
                **{str(i): each for i, each in enumerate(what.args)},
                **what.keywords,
            }.items():
                self.visit(f"{name}.{key}".lstrip("."), value)
        elif isinstance(what, MethodType):
            self.visit(name, what.__func__)
            self.visit("", what.__self__)
        elif isinstance(what, (staticmethod, classmethod)):
            self.visit(name, what.__func__)
        elif isinstance(what, property):
            self.visit(name, what.fget)
        elif isinstance(what, type):
            self._class(name, what)
        else:
            self._function(name, inspect.unwrap(what))  # type: ignore[arg-type]  # it is a function, or wraps one

    def _class(self, name: str, what: type) -> None:
        if not _is_users(what.__module__):
            return
        self._source(name, what)
        for base in what.__bases__:
            self.visit(self._name(base, base.__qualname__), base)
        for value in list(vars(what).values()):
            if isinstance(value, _FUNCTIONS):
                self.visit("", value)

    def _function(self, name: str, function: object) -> None:
        if not isinstance(function, FunctionType) or not _is_users(function.__module__):
            return
        self._source(name, function)
        for key, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with suppress(ValueError):  # a cell that is still empty
                self.visit(f"{name}.{key}".lstrip("."), cell.cell_contents)
        names, assigned = _names(function.__code__)
        for key in sorted((names - assigned) & function.__globals__.keys()):
            answer_of(partial(self._global, self._at(function.__module__, key), function.__globals__[key], names), None)

    def _global(self, name: str, value: object, names: set[str]) -> None:
        if not isinstance(value, ModuleType):
            self.visit(self._name(value, name), value)
        elif _is_users(value.__name__):
            for attribute in sorted(names & vars(value).keys()):
                self.visit(self._at(value.__name__, attribute), vars(value)[attribute])

    def _source(self, name: str, what: object) -> None:
        """Records the source of a function or class. That of a method is in its class, and that of the first object elsewhere."""
        if name and (known := source_hash(what)) != "unknown":
            self._found[name] = known

    def _name(self, value: object, name: str) -> str:
        """Returns the name of a function or class with its own module; of anything else, the name that it was found by."""
        return self._at(value.__module__, value.__qualname__) if isinstance(value, (FunctionType, type)) else name

    def _at(self, module: str, name: str) -> str:
        return name if module in (self._home, *_SCRIPT) else f"{module}.{name}"


def _names(code: CodeType) -> tuple[set[str], set[str]]:
    """Returns the names that code refers to, also inside its own functions, and those of them that it assigns as globals."""
    names, assigned = set(code.co_names), set(_stored(code))
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            more, others = _names(inner)
            names, assigned = names | more, assigned | others
    return names, assigned


def _stored(code: CodeType) -> Iterator[str]:
    return (each.argval for each in dis.get_instructions(code) if each.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"))


def _is_users(module: str) -> bool:
    """True if a module was written by the user: not installed, not Python's, not poptrain's."""
    if module in _SCRIPT:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and _is_users_file(file)


@cache
def _is_users_file(file: str) -> bool:
    path = Path(file).resolve()
    return not path.is_relative_to(_OURS) and not any(path.is_relative_to(place) for place in _INSTALLED)


def _plain(value: object) -> Json | None:
    """Returns a value as a log records it: a number as it is, another constant as a hash, None for what is not a constant."""
    if isinstance(value, (bool, int, float)):
        return value if abs(value) < 1e300 else repr(value)
    text = _written(value)
    return None if text is None else short_hash(text)


def _written(value: object, depth: int = 0) -> bytes | None:
    """Returns a constant as bytes, equal for equal values in every process; None if it is not a constant, or empty."""
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return repr(value).encode()
    if isinstance(value, np.generic):
        return repr(value.item()).encode()
    if isinstance(value, np.ndarray):
        if not value.size or value.dtype.hasobject or value.nbytes > LARGEST:
            return None
        return f"{value.dtype.str}{value.shape}".encode() + hashlib.sha256(np.ascontiguousarray(value).tobytes()).digest()
    exact = type(value) in (tuple, list, dict, frozenset)  # a subclass may do anything
    if depth > DEEPEST or not exact or not isinstance(value, (tuple, list, dict, frozenset)) or not value:
        return None
    items = [item for pair in value.items() for item in pair] if isinstance(value, dict) else list(value)
    parts = [_written(item, depth + 1) for item in items]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return type(value).__name__.encode() + b"\0".join(sorted(known) if isinstance(value, frozenset) else known)
