"""``poptrain schedule``: the hyperparameters over the steps that led to the best result."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from poptrain.cli.show import Directory, JsonOption, TaskOption, console, say, table
from poptrain.core.errors import UsageError
from poptrain.views import short
from poptrain.views.schedule import schedule_in


def schedule(
    directory: Directory,
    task: TaskOption = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV with exact numbers.")] = False,
    json: JsonOption = False,
) -> None:
    """Show the hyperparameters that led to the best result."""
    if csv and json:
        raise UsageError("--csv and --json exclude each other: pass only one of them.")
    found = schedule_in(directory, task)
    if json:
        print(found.to_json())
        return
    if csv:
        sys.stdout.write(found.to_csv())
        return
    out = console()
    say(f"{found.metric} {short(found.score, 6)} at step {found.step:,} (task {found.task}, member {found.member})", to=out)
    columns = [("from step", True), ("to step", True), ("member", True), *((name, True) for name in found.names)]
    rows = [[f"{s.start:,}", f"{s.end:,}", s.member, *s.hparams.values()] for s in found.segments]
    say(table(columns, rows), to=out)
