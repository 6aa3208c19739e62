"""``poptrain schema``: the JSON schema of what a verb prints with ``--json``."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Annotated

import typer

from poptrain.cli.show import emit
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.views.schema import Schema, schema_of

STATUS, FILES = ("poptrain.views:Status",), ("poptrain.cli.show:Files",)
PRINTED = {
    "run": STATUS,
    "check": ("poptrain.preflight:Preflight",),
    "resume": STATUS,
    "status": STATUS,
    "lineage": ("poptrain.views:Lineage",),
    "schedule": ("poptrain.views.schedule:WrittenSchedule",),
    "replay": ("poptrain.cli.replay:Replayed", "poptrain.engine.worth:Worth"),
    "verify": ("poptrain.audit.verify:Verification",),
    "compare": ("poptrain.views:Comparison",),
    "plot": FILES,
    "report": FILES,
    "export": FILES,
}  # the types of what each verb prints, as text: one schema must not import what all verbs need


def schema(
    verb: Annotated[str, typer.Argument(metavar="VERB", help="Such as status.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", hidden=True)] = False,  # it prints nothing else
) -> None:
    """Print the JSON schema of what VERB prints with --json."""
    emit(of_verb(verb))


def of_verb(verb: str) -> Schema:
    """Returns the schema of what ``poptrain VERB --json`` prints.

    Raises:
        UsageError: there is no such verb, or it has no ``--json``.
    """
    if verb not in PRINTED:
        raise UsageError(f"no schema for {verb!r}: expected one of {', '.join(PRINTED)}.{did_you_mean(verb, PRINTED)}")
    return schema_of([resolve_name(name) for name in PRINTED[verb]], f"poptrain {verb} --json")
