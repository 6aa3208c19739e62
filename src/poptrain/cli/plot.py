"""``poptrain plot``: the figures of a run, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poptrain.cli.show import Directory, Files, JsonOption, check_outside, emit, say
from poptrain.core.errors import UsageError
from poptrain.log.private import as_private_as
from poptrain.log.reader import read
from poptrain.views.index import best_id, history_of, none_healthy


def plot(
    directory: Directory,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the files go. [default: DIR-plots, next to the run]")
    ] = None,
    faster: Annotated[
        tuple[int, int] | None,
        typer.Option(
            "--faster", metavar="A B", help="Draw instead which of two seats improves faster, as FIRE PBT compares them."
        ),
    ] = None,
    step: Annotated[int | None, typer.Option("--step", metavar="N", help="With --faster: as it was after N steps.")] = None,
    json: JsonOption = False,
) -> None:
    """Draw score, hyperparameters, family tree, spread, time spent and what the algorithm adds as PNG."""
    record = read(directory)
    if best_id(record, history := history_of(record)) is None:
        raise none_healthy(record, history)
    from poptrain import plots  # importing Matplotlib takes long

    if step is not None and faster is None:
        raise UsageError("--step is the step at which two seats are compared: pass --faster A B too.")
    here = directory.resolve()
    out = here.with_name(f"{here.name}-plots") if out is None else out
    check_outside("--out", out, here)
    try:
        if faster is not None:
            figure = plots.faster(record, *faster, step=step)
            with as_private_as(here):
                files = [plots.save(figure, out / f"faster-{faster[0]}-{faster[1]}.png")]
        else:
            files = plots.save_all(record, out)
    except OSError as error:
        raise UsageError(f"cannot write plots: {error.strerror or error}: {error.filename}; pass another --out.") from error
    emit(Files(files=[str(path) for path in files])) if json else say(*map(str, files))
