"""``poptrain plot``: the figures of a run, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poptrain.cli.show import Directory, Json, emit, record_of, say
from poptrain.errors import UsageError
from poptrain.views.facts import Facts


def plot(
    directory: Directory,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the files go. [default: DIR-plots, beside the run]")
    ] = None,
    json: Json = False,
) -> None:
    """Draw score, hyperparameters, family tree, spread and time spent as PNG."""
    record = record_of(directory)
    if not Facts.of(record).reported:
        raise UsageError(f"the run in {str(directory)!r} has no results yet: there is nothing to plot.")
    from poptrain import plots  # matplotlib takes its time

    here = directory.resolve()
    try:
        files = plots.save_all(record, here.with_name(f"{here.name}-plots") if out is None else out)
    except OSError as error:
        raise UsageError(f"cannot write plots: {error.strerror or error}: {error.filename}; give another --out.") from error
    emit({"files": [str(path) for path in files]}) if json else say(*map(str, files))
