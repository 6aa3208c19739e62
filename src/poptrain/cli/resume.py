"""``poptrain resume``: continue a run that was interrupted, or train a finished one further."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from poptrain.cli import start
from poptrain.cli.show import Directory, Json, console, record_of, say
from poptrain.errors import UsageError
from poptrain.experiment import file_hash


def resume(
    directory: Directory,
    experiment: Annotated[
        Path | None, typer.Option("--experiment", metavar="FILE", help="The experiment file, if it is no longer where it was.")
    ] = None,
    executor: start.Executor = None,
    steps: start.Steps = None,
    quiet: start.Quiet = False,
    json: Json = False,
) -> None:
    """Continue an interrupted run, or a finished one with more --steps."""
    record = record_of(directory)
    recorded = record.file if isinstance(record.file, Mapping) else {}
    file = start.outside(_file(directory, recorded) if experiment is None else experiment, directory)
    before = recorded.get("options")
    options = dict(before) if isinstance(before, Mapping) else {}
    options |= {name: value for name, value in (("steps", steps), ("executor", executor)) if value is not None}
    loaded = start.load(file, options, record.run.get("seed"))
    if recorded.get("sha256") not in (None, file_hash(file)):
        say(f"warning: {file} has changed since the run was started with it", to=console(sys.stderr))
    start.perform(loaded, directory, start.source(file, directory, options), quiet, json)


def _file(directory: Path, recorded: Mapping[str, Any]) -> Path:
    name = recorded.get("name")
    if not isinstance(name, str):
        raise UsageError(
            f"the run in {str(directory)!r} was not started from a file: continue it with the same pt.run(…) call, or give "
            "--experiment FILE."
        )
    file = (directory.resolve() / name).resolve() if "\0" not in name else Path("?")
    if file.suffix != ".py" or not file.is_file():
        raise UsageError(f"the experiment file {str(file)!r} of the run is not there any more: give it with --experiment FILE.")
    return file
