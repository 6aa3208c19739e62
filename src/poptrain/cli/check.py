"""``poptrain check``: find out in a minute what is wrong with an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poptrain.cli import start
from poptrain.cli.show import Json, emit, rate, say, verdicts
from poptrain.preflight import Preflight
from poptrain.preflight import check as checked
from poptrain.preflight.estimate import size
from poptrain.views import span


def check(
    experiment: Annotated[
        Path, typer.Argument(metavar="EXPERIMENT.py", help="A file with experiment = pt.Experiment(…).", show_default=False)
    ],
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", help="The time it may take, about.")] = 60.0,
    dir: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the run would be, for the space on its disk.")] = Path(
        "runs"
    ),
    executor: start.Executor = None,
    steps: start.Steps = None,
    json: Json = False,
) -> None:
    """Try an experiment before it is run: checkpoints, hyperparameters, metric, time and disk."""
    found = checked(start.load(experiment, {"steps": steps, "executor": executor}), seconds=seconds, directory=dir)
    emit(found) if json else _show(found)
    if not found.ok:
        raise typer.Exit(1)


def _show(found: Preflight) -> None:
    verdicts(found.checks)
    told = found.estimate
    if told is not None:
        speed = f"{rate(1 / told.seconds_per_step)} steps/s" if told.seconds_per_step else "steps in no time"
        whole = "it is not known when the run ends" if told.seconds is None else f"about {span(told.seconds)} in all"
        say(f"the run: {whole} ({speed} of a member, {told.slots} at a time), {size(told.disk)} of disk")
    failed, unclear = (sum(verdict.state == state for verdict in found.checks) for state in ("failed", "unclear"))
    short = found.interval is not None and found.steps < found.interval
    say(f"checked in {span(found.seconds)}, {found.steps:,} steps at a time" + (f" of {found.interval:,}" if short else ""))
    if failed:
        say(f"{failed} of {len(found.checks)} checks failed" + (f", {unclear} are unclear" if unclear else ""))
    else:
        say(f"nothing is wrong; {unclear} of {len(found.checks)} checks are unclear" if unclear else "nothing is wrong")
