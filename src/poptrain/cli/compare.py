"""``poptrain compare``: several runs, grouped by method, and what the evidence supports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from poptrain.cli.long_table import LongTable
from poptrain.cli.show import JsonOption, console, emit, say, table
from poptrain.core.errors import PoptrainError, UsageError
from poptrain.log.finding import check_not_inside, runs_in
from poptrain.log.reader import Record, read
from poptrain.views import Comparison
from poptrain.views import compare as view

Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN…", help="Directories of runs, or of such directories.", show_default=False)
]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the curves into a PNG, SVG or PDF file.")]


def compare(runs: Runs, plot: Plot = None, json: JsonOption = False) -> None:
    """Compare methods over several runs each: means, intervals, curves."""
    read, unreadable = records(runs)
    found = view(read)
    found = replace(found, warnings=(*found.warnings, *unreadable))
    if plot is not None:
        check_not_inside("--plot", plot)
        draw_curves(found, plot)
    if json:
        return emit(found)
    out = console()
    say(grid(found), "", to=out)
    say(*found.sentences(), to=out)
    if plot is not None:
        say(str(plot), to=out)
    return None


def records(directories: list[Path]) -> tuple[list[Record], list[str]]:
    """Returns the records of the runs, each once, and warnings.

    A directory without a run stands for all the runs directly inside it. One of them that cannot be read is left out, with a
    warning; a run that was named itself must be readable.
    """
    found: dict[Path, Record] = {}
    warnings = []
    for path in directories:
        for each in runs_in(path) or [path]:
            if each.resolve() in found:
                continue
            try:
                found[each.resolve()] = read(each)
            except PoptrainError as error:
                if each == path:
                    raise
                warnings.append(f"left out {each}: {error}")
    return list(found.values()), warnings


def draw_curves(found: Comparison, path: Path) -> None:
    """Draws the curves into a file.

    Raises:
        UsageError: the file cannot be written, or its name has another ending.
    """
    from poptrain import plots  # importing Matplotlib takes long

    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot {str(path)!r}: expected a file that ends in .png, .svg or .pdf.")
    try:
        plots.comparison(found).savefig(path)
    except OSError as error:
        raise UsageError(f"cannot write the plot {str(path)!r}: {error.strerror or error}.") from error


def grid(found: Comparison) -> LongTable:
    """Returns the table of methods."""
    words = {"method", "95 %"}
    return table([(name, name not in words) for name in found.heading()], found.rows())
