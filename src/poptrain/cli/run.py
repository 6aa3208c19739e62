"""``poptrain run``: start the experiment that a Python file describes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poptrain.cli import start
from poptrain.cli.show import JsonOption
from poptrain.core.errors import UsageError
from poptrain.core.secrets import secret_in
from poptrain.engine.experiment import file_record


def run(
    experiment: Annotated[
        Path, typer.Argument(metavar="EXPERIMENT.py", help="A file with experiment = pt.Experiment(…).", show_default=False)
    ],
    dir: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Where the run is kept. [default: runs/<experiment>-<date>-<time>]"),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="The seed, instead of that of the file.")] = None,
    checkpoints: Annotated[
        str | None, typer.Option("--checkpoints", metavar="URL", help="Where checkpoints are kept, instead of in DIR: s3://…")
    ] = None,
    args: start.ArgumentsOption = "",
    executor: start.ExecutorOption = None,
    steps: start.StepsOption = None,
    quiet: start.QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Start the experiment that a Python file describes."""
    directory = start.fresh(experiment, dir)
    start.outside(experiment, directory)
    options = {"steps": steps, "executor": executor, "checkpoints": checkpoints}
    argv = start.argv_of(args)
    if (name := secret_in(argv)) is not None:
        raise UsageError(f"--args: {name} holds a secret, which the log would keep: pass it in an environment variable.")
    loaded = start.load(experiment, options, seed, argv)
    start.perform(loaded, directory, file_record(experiment, directory, options, argv), quiet, json)
