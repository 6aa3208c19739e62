"""JSON schemas of what ``--json`` prints, made from the types of the views themselves, so that the two cannot differ."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from inspect import getdoc
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}]}  # what `as_json` makes of a float
PLAIN = {bool: "boolean", int: "integer", str: "string", type(None): "null"}

Schema = dict[str, Any]  # as JSON


def schema_of(kinds: Sequence[type], title: str) -> Schema:
    """Returns the JSON schema (2020-12) of what `as_json` makes of a view of one of some kinds. It allows no unknown property.

    Args:
        kinds: dataclasses or typed dictionaries, of numbers, texts, containers and others of their kind.
        title: for people.

    >>> from poptrain.views import Common
    >>> schema_of([Common], "a common ancestor")["$defs"]["Common"]["required"]
    ['task', 'member', 'step']
    """
    named: dict[str, Schema] = {}
    found = [_of(kind, named) for kind in kinds]
    whole = found[0] if len(found) == 1 else {"anyOf": found}
    return {"$schema": DIALECT, "title": title, **whole, "$defs": dict(sorted(named.items()))}


def _of(kind: Any, named: dict[str, Schema]) -> Schema:
    """Returns the schema of a type; those of the records in it are added to `named`."""
    if kind in (Any, object):
        return {}
    if kind is float:
        return NUMBER
    if kind in PLAIN:
        return {"type": PLAIN[kind]}
    if is_dataclass(kind) or is_typeddict(kind):
        return _record(kind, named)
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(each, named) for each in inside]}
    if origin is NotRequired:
        return _of(inside[0], named)
    if origin is Literal:
        return {"enum": list(inside)}
    if origin is tuple and inside[-1] is not Ellipsis:
        return {"type": "array", "prefixItems": [_of(each, named) for each in inside], "minItems": len(inside), "items": False}
    if origin in (tuple, list):
        return {"type": "array", "items": _of(inside[0], named)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of(inside[1], named)}
    raise TypeError(f"no JSON schema for {kind!r}")


def _record(kind: Any, named: dict[str, Schema]) -> Schema:
    if kind.__name__ not in named:
        named[kind.__name__] = {}  # a record may contain others of its own kind
        shown = [field.name for field in fields(kind) if field.repr] if is_dataclass(kind) else None
        hints = get_type_hints(kind, include_extras=True)
        hints = {name: hint for name, hint in hints.items() if shown is None or name in shown}
        named[kind.__name__] = {
            "type": "object",
            "description": (getdoc(kind) or "").partition("\n\n")[0].replace("\n", " "),
            "properties": {name: _of(hint, named) for name, hint in hints.items()},
            "required": [name for name, hint in hints.items() if get_origin(hint) is not NotRequired],
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{kind.__name__}"}
