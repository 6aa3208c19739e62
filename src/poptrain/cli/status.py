"""``poptrain status``: what a run is doing, member by member."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.live import Live

from poptrain import clock
from poptrain.cli.show import Directory, Json, console, emit, overview, record_of, rows, say
from poptrain.errors import UsageError
from poptrain.views import status as view

POLL = 1.0


def status(
    directory: Directory,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every second until the run ends.")] = False,
    json: Json = False,
) -> None:
    """Show members, scores, hyperparameters, speed, time left."""
    if watch and json:
        raise UsageError("--watch and --json: give one of them; --json prints one object.")
    record = record_of(directory)
    now = view(record)
    if json:
        return emit(now)
    out = console()
    if not watch or not out.is_terminal:
        say(overview(now, out.width), to=out)
        while watch and now.state == "running":  # into a file or pipe: again whenever something was written
            clock.sleep(POLL)
            if record.refresh():
                say("", overview(now := view(record), out.width), to=out)
            else:
                now = view(record)
        return None
    with Live(overview(now, out.width, rows(out)), console=out, auto_refresh=False) as screen:
        while now.state == "running":
            clock.sleep(POLL)
            record.refresh()
            screen.update(overview(now := view(record), out.width, rows(out)), refresh=True)
    return None
