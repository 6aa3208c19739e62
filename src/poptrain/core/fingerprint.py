"""What a run was started with, as JSON: the fingerprint by which a resumed run is recognised."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any


def describe(what: Any) -> Any:
    """Returns a JSON-able description of an algorithm, a stop condition or any other value made of frozen dataclasses.

    Functions are described by name and by a hash of their source, never by their code.
    """
    if hasattr(what, "describe"):
        return what.describe()
    if is_dataclass(what) and not isinstance(what, type):
        described = {"type": type(what).__name__}
        described.update({field.name: describe(getattr(what, field.name)) for field in fields(what)})
        return described
    if isinstance(what, Mapping):
        return {str(key): describe(value) for key, value in what.items()}
    if isinstance(what, (list, tuple)):
        return [describe(value) for value in what]
    if what is None or isinstance(what, (bool, int, float, str)):
        return what
    return source_name(what)


def source_name(what: Any) -> str:
    """Returns ``module:qualname#hash``, with a short hash of the source where there is one."""
    target = what if hasattr(what, "__qualname__") else type(what)
    return f"{module_of(target)}:{target.__qualname__}#{source_hash(target)}"


def module_of(what: Any) -> str:
    """Returns the module of a function or class; of a script its file's name, as if it were imported."""
    if what.__module__ in ("__main__", "__mp_main__"):
        return Path(getattr(sys.modules["__main__"], "__file__", None) or "__main__").stem
    return what.__module__


def source_hash(what: Any) -> str:
    """Returns 12 hex digits of the SHA-256 of the source of a function or class, or ``"unknown"``."""
    try:
        return hashlib.sha256(inspect.getsource(what).encode()).hexdigest()[:12]
    except (OSError, TypeError):
        return "unknown"


def differences(then: Any, now: Any, path: str = "") -> Iterator[str]:
    """Yields one line for each place where two descriptions differ."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*then, *now]):
            inner = f"{path}.{key}" if path else str(key)
            if key not in then:
                yield f"{inner} is new ({now[key]!r})"
            elif key not in now:
                yield f"{inner} is gone (was {then[key]!r})"
            else:
                yield from differences(then[key], now[key], inner)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for index, (a, b) in enumerate(zip(then, now, strict=True)):
            yield from differences(a, b, f"{path}[{index}]")
    elif then != now or type(then) is not type(now):
        yield f"{path} was {then!r}, is {now!r}"
