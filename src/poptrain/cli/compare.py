"""``poptrain compare``: several runs, grouped by method, and what the evidence supports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from poptrain.cli.show import JsonOption, console, emit, record_of, say, table
from poptrain.core.errors import UsageError
from poptrain.log.reader import Record, exists
from poptrain.views import Comparison
from poptrain.views import compare as view

Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN…", help="Directories of runs, or of such directories.", show_default=False)
]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the curves into a PNG, SVG or PDF file.")]


def compare(runs: Runs, plot: Plot = None, json: JsonOption = False) -> None:
    """Compare methods over several runs each: means, intervals, curves."""
    found = view(records(runs))
    if plot is not None:
        draw_curves(found, plot)
    if json:
        return emit(found)
    out = console()
    say(grid(found), "", to=out)
    say(*found.sentences(), to=out)
    if plot is not None:
        say(str(plot), to=out)
    return None


def records(directories: list[Path]) -> list[Record]:
    """Returns the records of the runs, each once; a directory without a run stands for all the runs directly inside it."""
    paths: dict[Path, Path] = {}
    for path in directories:
        inside = sorted(each for each in path.iterdir() if each.is_dir() and exists(each)) if path.is_dir() else []
        for each in [path] if exists(path) or not inside else inside:
            paths.setdefault(each.resolve(), each)
    return [record_of(path) for path in paths.values()]


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


def grid(found: Comparison) -> Table:
    """Returns the table of methods."""
    words = {"method", "95 %"}
    return table([(name, name not in words) for name in found.heading()], found.rows())
