"""How results look on a terminal. User strings become `Text` with control characters escaped, so that no terminal obeys them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Annotated, NotRequired, TypedDict

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from poptrain.audit.verdict import Verdict
from poptrain.cli.long_table import LongTable
from poptrain.core.errors import UsageError
from poptrain.views import clean, dumps, short

PIPED_WIDTH = 200  # columns of output that goes into a file or a pipe


def place(text: str | Path) -> Path:
    """Returns a path; an empty one, as of a shell's variable that is not set, is not the current directory."""
    if not str(text).strip():
        raise typer.BadParameter("it is empty: pass a path, for example runs/first.")
    if "\0" in str(text):
        raise typer.BadParameter("it contains a NUL character, which no path can have.")
    return Path(text)


Directory = Annotated[Path, typer.Argument(metavar="DIR", parser=place, help="The directory of a run.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
TaskOption = Annotated[int | None, typer.Option("--task", metavar="N", help="A task other than that of the best result.")]

_STYLE = {"ok": "green", "failed": "bold red", "unclear": "yellow"}  # of a verdict


class Files(TypedDict):
    """The files that a verb has written."""

    files: list[str]
    bytes: NotRequired[int]  # of a report
    to: NotRequired[str]  # the tracker, and where it holds the run


def console(stream: IO[str] | None = None) -> Console:
    """Returns a console that takes no text for markup."""
    stream = sys.stdout if stream is None else stream
    width = None if stream.isatty() else PIPED_WIDTH
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=width)


def check_outside(option: str, path: Path, directory: Path) -> None:
    """Raises a `UsageError` if a file that an option names is inside a run directory."""
    if path.resolve().is_relative_to(directory.resolve()):
        raise UsageError(f"{option} {str(path)!r} is inside the run directory, where only the run writes: choose another place.")


def emit(view: object) -> None:
    """Prints a view as one line of strict JSON."""
    print(dumps(view))


def say(*lines: RenderableType, to: Console | None = None) -> None:
    """Prints lines of prose or tables; long lines are not broken."""
    out = console() if to is None else to
    for line in lines:
        out.print(Text(clean(line)) if isinstance(line, str) else line, soft_wrap=isinstance(line, (str, Text)))


def verdicts(found: Sequence[Verdict]) -> None:
    """Prints verdicts, one a line."""
    out = console()
    for verdict in found:
        line = Text(f"{verdict.state.upper() if verdict.state == 'failed' else verdict.state:8s}", _STYLE[verdict.state])
        say(line.append(f" {clean(verdict.name)}: {clean(verdict.text)}", ""), to=out)


def hparams_line(hparams: Mapping[str, object]) -> str:
    """Returns hyperparameters in one line: ``lr=0.003 momentum=0.9``."""
    return " ".join(f"{clean(name)}={short(value)}" for name, value in hparams.items())


def table(columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[object]]) -> LongTable:
    """Returns a table; each column is a heading and whether it holds numbers."""
    headings = [(clean(heading), number) for heading, number in columns]
    return LongTable(headings, [[cell if isinstance(cell, Text) else short(cell) for cell in row] for row in rows])


def steps_per_second(value: float | None) -> str:
    """Returns a number of steps per second."""
    return "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
