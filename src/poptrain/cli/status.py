"""``poptrain status``: what a run is doing, member by member."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.live import Live as Screen

from poptrain.cli.overview import overview, rows_that_fit
from poptrain.cli.show import Directory, JsonOption, console, emit, say
from poptrain.core import clock, collector
from poptrain.core.errors import UsageError
from poptrain.views.digest import Following

POLL_SECONDS = 1.0


def status(
    directory: Directory,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every second until the run ends.")] = False,
    json: JsonOption = False,
) -> None:
    """Show members, scores, hyperparameters, speed, time left."""
    if watch and json:
        raise UsageError("--watch and --json exclude each other: pass only one of them; --json prints one object.")
    with collector.paused():
        run = Following(directory)
    now = run.look()
    if json:
        return emit(now)
    out = console()
    if not watch or not out.is_terminal:
        say(overview(now, out.width), to=out)
        while watch and now.state == "running":  # into a file or pipe: again whenever something was written
            clock.sleep(POLL_SECONDS)
            before, now = run.record.seq, run.look()
            if run.record.seq != before:
                say("", overview(now, out.width), to=out)
        return None
    with Screen(overview(now, out.width, rows_that_fit(out)), console=out, auto_refresh=False) as screen:
        while now.state == "running":
            clock.sleep(POLL_SECONDS)
            screen.update(overview(now := run.look(), out.width, rows_that_fit(out)), refresh=True)
    return None
