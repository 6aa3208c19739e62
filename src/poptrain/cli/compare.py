"""``poptrain compare``: several runs, grouped by method, and what the evidence supports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from poptrain.cli.show import JsonOption, console, emit, record_of, say, table
from poptrain.core.errors import UsageError
from poptrain.log.reader import Record, exists
from poptrain.views import Comparison, Method, clean, short, span
from poptrain.views import compare as view

Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN…", help="Directories of runs, or of such directories.", show_default=False)
]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the curves into a PNG, SVG or PDF file.")]
_SENTENCE = {"ahead": "is better than", "behind": "is worse than"}  # by verdict


def compare(runs: Runs, plot: Plot = None, json: JsonOption = False) -> None:
    """Compare methods over several runs each: means, intervals, curves."""
    found = view(records(runs))
    if plot is not None:
        draw_curves(found, plot)
    if json:
        return emit(found)
    out = console()
    say(grid(found), "", to=out)
    say(*sentences(found), to=out)
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
    columns = [
        ("method", False),
        ("runs", True),
        (f"{found.metric} at step {found.steps:,}", True),
        ("95 %", False),
        (f"at {found.total:,} in all", True),
        ("95 %", False),
        ("steps in all", True),
        ("time", True),
        (f"beats {found.reference}", True),
    ]
    beats = {pair.method: f"{100 * pair.improvement:.0f} %" for pair in found.pairs}
    return table(columns, [_row(method, beats.get(method.name, "")) for method in found.methods])


def _row(method: Method, beats: str) -> list[object]:
    cells: list[object] = [method.name, len(method.runs)]
    for found in (method.score, method.score_total):
        cells += ["", ""] if found is None else [short(found.mean, 4), f"{short(found.low, 4)} to {short(found.high, 4)}"]
    return [*cells, f"{method.total:,.0f}", span(method.seconds), beats]


def sentences(found: Comparison) -> list[str]:
    """Returns what the comparison shows, one line each."""
    lines = []
    for pair in found.pairs:
        verdict = _SENTENCE.get(pair.verdict, "cannot be distinguished from")
        equal = pair.wins + pair.losses
        seeds = f"; {pair.wins} of {equal} equal seeds, p = {pair.p:.3g}" if equal else ""
        interval = f"{pair.low:.2f} to {pair.high:.2f}{seeds}"
        lines.append(f"{pair.method} {verdict} {pair.against}: it wins with probability {pair.improvement:.2f} ({interval}).")
    return [*lines, *found.said, *(f"warning: {clean(text)}" for text in found.warnings)]
