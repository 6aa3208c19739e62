"""``poptrain report``: everything about a run on one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poptrain.cli.show import Directory, Files, JsonOption, check_outside, emit, say
from poptrain.core.errors import UsageError
from poptrain.log.reader import read
from poptrain.views.index import best_id, history_of, none_healthy


def report(
    directory: Directory,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page. [default: DIR.html, next to the run]")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write one self-contained HTML page with charts and tables."""
    record = read(directory)
    if best_id(record, history := history_of(record)) is None:
        raise none_healthy(record, history)
    from poptrain.report import write

    here = directory.resolve()
    path = here.with_name(f"{here.name}.html") if out is None else out
    check_outside("--out", path, here)
    try:
        write(record, path)
    except OSError as error:
        raise UsageError(f"cannot write the report: {error.strerror or error}: {error.filename}; pass another --out.") from error
    emit(Files(files=[str(path)], bytes=path.stat().st_size)) if json else say(str(path))
