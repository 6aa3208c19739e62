"""What a run was started with, as JSON: the fingerprint by which a resumed run is recognised."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from poptrain.core.facts import Json

Value = TypeVar("Value")


@runtime_checkable
class Describable(Protocol):
    """A value that knows its own description: a space, an adapter of another framework."""

    def describe(self) -> Json:
        """Returns the description as JSON; equal values have equal ones, in every process."""
        ...


class Description(dict[str, Json]):
    """The description of a dataclass. `absent` holds what its newer options mean where an older log lacks them.

    An option that is added to a recorded dataclass declares that value in its metadata, which may differ from its default:

        warmup: int = field(default=10, metadata={"absent": 0})

    The option is always written. A log from before it existed is then equal to a run with the old value, and to no other.
    """

    absent: Mapping[str, Json] = {}


def describe(what: object) -> Json:
    """Returns a description, as JSON, of an algorithm, a stop condition or any other value made of frozen dataclasses.

    Functions are described by name and by a hash of their source, never by their code.
    """
    if isinstance(what, Describable):
        return what.describe()
    if is_dataclass(what) and not isinstance(what, type):
        described = Description(type=type(what).__name__)
        logged = [field for field in fields(what) if field.metadata.get("logged", True)]
        described.update({field.name: describe(getattr(what, field.name)) for field in logged})
        described.absent = {field.name: describe(field.metadata["absent"]) for field in logged if "absent" in field.metadata}
        return described
    if isinstance(what, Mapping):
        return {str(key): describe(value) for key, value in what.items()}
    if isinstance(what, (list, tuple)):
        return [describe(value) for value in what]
    if what is None or isinstance(what, (bool, int, float, str)):
        return what
    return source_name(what)


Earlier = Mapping[str, tuple[object, ...]]  # by the name of an option that was left open: its defaults in earlier releases


@runtime_checkable
class Defaulted(Protocol):
    """A value that knows which of its options the user left to the defaults.

    A dataclass has it as ``earlier: Earlier = field(default=…, compare=False, metadata={"logged": False})``.
    """

    @property
    def earlier(self) -> Earlier:
        """The options that were left open, and what their defaults were."""
        ...


def as_begun(what: Value, then: Json) -> Value:
    """Returns `what` with the defaults of the release that wrote a description, so that an old run goes on as it was begun.

    An option that the user named is never changed.

    Args:
        what: an algorithm; one that is not `Defaulted`, and holds no other that is, is returned as it is.
        then: the description of it in a log.
    """
    if not is_dataclass(what) or isinstance(what, type) or not isinstance(then, Mapping):
        return what
    changed = {  # an algorithm may hold another one, as BG-PBT with generations does
        field.name: inner
        for field in fields(what)
        if isinstance(value := getattr(what, field.name), Defaulted)
        and (inner := as_begun(value, then.get(field.name))) is not value
    }
    if not isinstance(what, Defaulted):
        return replace(what, **changed) if changed else what
    now = describe(what)
    meant = now.absent if isinstance(now, Description) else {}
    for name, values in what.earlier.items():
        logged = then.get(name, meant.get(name))
        options = (getattr(what, name), *values)
        same = [value for value in options if not list(differences(logged, describe(value)))]
        if same:
            changed[name] = same[0]
    return replace(what, **changed)


def as_logged(what: Value, then: Json) -> Value:
    """Returns a value whose newer options, where they were left at their defaults, mean what they meant in an older log.

    So an experiment that has not changed continues a run that an older version began, with the decisions of that version.

    Args:
        what: the algorithm or another frozen dataclass, as the user's file makes it now.
        then: its description as the log recorded it.
    """
    if isinstance(what, tuple) and isinstance(then, list) and len(what) == len(then):
        parts = [as_logged(mine, logged) for mine, logged in zip(what, then, strict=True)]
        changed = any(a is not b for a, b in zip(what, parts, strict=True))
        return type(what)(parts) if changed and type(what) is tuple else what
    if not is_dataclass(what) or isinstance(what, type) or not isinstance(then, Mapping):
        return what
    changes: dict[str, Any] = {}
    for field in fields(what):
        value = getattr(what, field.name)
        if field.name in then:
            meant = as_logged(value, then[field.name])
        elif "absent" in field.metadata and value == default_of(field):
            meant = field.metadata["absent"]
        else:
            continue
        if meant is not value:
            changes[field.name] = meant
    return replace(what, **changes) if changes else what


def default_of(field: Field[Any]) -> object:
    """Returns the default of a field of a dataclass; MISSING if it has none."""
    return field.default_factory() if field.default_factory is not MISSING else field.default


def source_name(what: object) -> str:
    """Returns ``module:qualname#hash``, with a short hash of the source where there is one."""
    target = what if hasattr(what, "__qualname__") else type(what)
    return f"{qualified_name(target)}#{source_hash(target)}"


def qualified_name(what: object) -> str:
    """Returns ``module:qualname`` of a function or class; of an object that has no name, that of its class."""
    target = what if hasattr(what, "__qualname__") else type(what)
    return f"{module_of(target)}:{target.__qualname__}"


def module_of(what: object) -> str:
    """Returns the module of a function or class; of a script its file's name, as if it were imported."""
    if what.__module__ in ("__main__", "__mp_main__"):
        return Path(getattr(sys.modules["__main__"], "__file__", None) or "__main__").stem
    return what.__module__


def source_hash(what: object) -> str:
    """Returns 12 hex digits of the SHA-256 of the source of a function or class, or ``"unknown"``."""
    try:
        return short_hash(inspect.getsource(what).encode())  # type: ignore[arg-type]  # it raises TypeError
    except (OSError, TypeError):
        return "unknown"


def short_hash(data: bytes) -> str:
    """Returns 12 hex digits of the SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()[:12]


def differences(then: Json, now: Json, path: str = "") -> Iterator[str]:
    """Yields one line for each place where two descriptions differ.

    Args:
        then: as a log recorded it.
        now: as `describe` returned it. Its options that `then` lacks count with what they meant when `then` was written.
    """
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        meant = now.absent if isinstance(now, Description) else {}
        for key in dict.fromkeys([*then, *now]):
            inner = f"{path}.{key}" if path else str(key)
            if key not in now:
                yield f"{inner} is gone (was {then[key]!r})"
            elif key in then:
                yield from differences(then[key], now[key], inner)
            elif key in meant:
                yield from differences(meant[key], now[key], inner)
            else:
                yield f"{inner} is new ({now[key]!r})"
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for index, (a, b) in enumerate(zip(then, now, strict=True)):
            yield from differences(a, b, f"{path}[{index}]")
    elif then != now or type(then) is not type(now):
        yield f"{path} was {then!r}, is {now!r}"
